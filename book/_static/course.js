// Small things that all pages need: wide boxes that can be scrolled by keyboard, and search excerpts that show text.
(function () {
  "use strict";
  const WIDE = "article :is(pre, table, div, dl, dt, dd, span.course-wide, mjx-container[display='true'])";

  function mark() {
    for (const box of document.querySelectorAll(".course-scrolls")) {
      box.classList.remove("course-scrolls");
      box.removeAttribute("tabindex");
    }
    for (const formula of document.querySelectorAll("article span.math")) {
      formula.classList.remove("course-wide");
      const room = formula.closest("p, li, dd, td, div").clientWidth;
      const set = formula.querySelector("mjx-container > *");
      if (room && set && set.getBoundingClientRect().width > room) formula.classList.add("course-wide");
    }
    for (const box of document.querySelectorAll(WIDE))
      if (box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX)) {
        box.classList.add("course-scrolls");
        box.tabIndex = 0;
      }
  }
  let width = 0; // of the text: it also changes when a menu slides in, after the window has its new size
  const follow = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    mark();
  });
  window.addEventListener("load", () => {
    follow.observe(document.querySelector("article") || document.body);
    const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    if (typeset) typeset.then(mark);
  });

  // Sphinx takes the whole main part of a page, menus included; the text stands in the article.
  if (typeof Search !== "undefined")
    Search.htmlToText = function (page, anchor) {
      const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
      if (!article) return "";
      for (const junk of article.querySelectorAll("script, style, .headerlink, .course-line, .toctree-wrapper")) junk.remove();
      const place = anchor && article.querySelector(`[id="${CSS.escape(anchor.replace("#", ""))}"]`);
      return (place || article).textContent;
    };
})();
