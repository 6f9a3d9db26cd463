// Draw the charts of a page when they come into sight, with the site's own copy of Vega, and say their setting in words.
(function () {
  "use strict";
  const vendor = new URL("vendor/vega/", document.currentScript.src).href;
  let loaded = null;

  function load(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = vendor + name;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} did not load`));
      document.head.append(script);
    });
  }

  async function vega() {
    const define = window.define; // with require.js on the page the files would not give their names to it
    window.define = undefined;
    for (const name of ["vega.js", "vega-lite.js", "vega-embed.js"]) await load(name);
    window.define = define;
  }

  function words(box, status, description) {
    const texts = [...box.querySelectorAll("g[class*='words'] text")].map((text) => text.textContent.trim());
    const said = texts.filter(Boolean).join(". ");
    if (status.textContent !== said) status.textContent = said;
    const svg = box.querySelector("svg");
    if (svg) svg.setAttribute("aria-label", said ? `${description} ${said}` : description);
  }

  async function draw(box) {
    const spec = JSON.parse(box.querySelector("script").textContent);
    const holder = document.createElement("div");
    const status = document.createElement("p");
    status.className = "course-words";
    status.setAttribute("role", "status");
    box.append(holder, status);
    loaded = loaded || vega();
    await loaded;
    const { view } = await window.vegaEmbed(holder, spec, { actions: false, renderer: "svg" });
    for (const input of holder.querySelectorAll(".vega-bind")) {
      const name = input.querySelector(".vega-bind-name");
      const radios = [...input.querySelectorAll("input[type=radio]")];
      if (radios.length) {
        input.setAttribute("role", "radiogroup");
        input.setAttribute("aria-label", name.textContent.trim());
      }
      for (const control of input.querySelectorAll("input[type=range], select"))
        control.setAttribute("aria-label", name.textContent.trim());
    }
    const svg = holder.querySelector("svg");
    svg.setAttribute("role", "img");
    let waiting = 0;
    const follow = () => {
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => words(holder, status, spec.description), 150);
    };
    holder.addEventListener("input", follow);
    holder.addEventListener("change", follow);
    holder.addEventListener("pointermove", follow);
    words(holder, status, spec.description);
    box.dataset.drawn = "yes";
    box.courseView = view;
  }

  function start() {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries)
        if (entry.isIntersecting) {
          seen.unobserve(entry.target);
          draw(entry.target).catch((error) => console.error(error));
        }
    }, { rootMargin: "400px" });
    for (const box of document.querySelectorAll(".course-chart")) seen.observe(box);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
