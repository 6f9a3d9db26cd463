"""The course's figures: pictures in the page's colours, diagrams, charts that are steered by mouse and keyboard."""

import inspect
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
from browser import needs_chromium, opened, page_with
from matplotlib import pyplot as plt

from lecture_lib import plots
from lecture_lib.corpora.hidden_markov import HiddenMarkovSource
from lecture_lib.plots.charts import MIME, SITE
from lecture_lib.plots.diagrams import PARTS
from lecture_lib.sampling import SamplingParameters, process_logits

TOKENS = ["the", "cat", "the"]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def contrast(one, other):
    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#383838", "#121212", "#000000"])
def test_every_colour_stands_out_on_every_page(page):
    assert min(contrast(color, page) for color in plots.PALETTE) >= 3


def test_plots_import_neither_pyplot_nor_altair():
    command = (
        "import sys, lecture_lib.plots; sys.exit('matplotlib' in sys.modules or 'altair' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


# ------------------------------------------------------------------------------------------------------- pictures


def drawn(**kwargs):
    with plt.rc_context():
        plots.use_style()
        figure, axes = plt.subplots(**kwargs)
        axes.plot([0, 1], [0, 1], label=r"$\sqrt{D_k}$")
        axes.set(xlabel="width", ylabel="entropy")
        axes.legend()
        return figure


def test_a_picture_has_the_pages_colours_caption_and_words():
    page = plots.show(
        drawn(), "Entropy *falls*; $a < b$.", alt='a "falling" curve', name="fig-x"
    )._repr_html_()
    assert page.startswith("<figure class='course-figure' data-name='fig-x'")
    assert 'role="img" aria-label="a &quot;falling&quot; curve"' in page
    assert "<figcaption>Entropy *falls*; $a &lt; b$.</figcaption>" in page
    assert "currentColor" in page
    assert not re.search(r"#ffffff|#000000|#010101|DejaVu", page)
    assert ">width<" in page, "text stays text"
    assert not plt.get_fignums(), "a figure that stays open is shown twice"


@pytest.mark.slow
def test_the_same_figure_gives_the_same_text_and_no_id_twice():
    one, two = drawn(), drawn()
    assert plots.show(one, "a", "b")._repr_html_() == plots.show(two, "a", "b")._repr_html_()
    page = plots.show([drawn(), drawn(figsize=(3, 2))], "c", ["left", "right"])._repr_html_()
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_panels_without_words_of_their_own_are_hidden_from_readers_aloud():
    page = plots.show([drawn(), drawn()], "c", "both")._repr_html_()
    assert page.count('role="img"') == 1
    assert page.count('aria-hidden="true"') == 1


@pytest.mark.slow
def test_a_figure_that_a_cell_leaves_behind_is_shown_so_too(monkeypatch):
    from nbclient import NotebookClient

    code = (
        "from lecture_lib import plots\nplots.use_style()",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.ylabel('loss');",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    monkeypatch.delenv("MPLBACKEND", raising=False)
    NotebookClient(notebook).execute()
    page = notebook.cells[1].outputs[0].data["text/html"]
    assert 'aria-label="A figure. loss"' in page
    assert "currentColor" in page


@pytest.mark.parametrize(("caption", "alt"), [("", "a"), ("c", " "), ("c", ["a", "b"])])
def test_a_picture_without_words_is_refused(caption, alt):
    with pytest.raises(ValueError, match="a caption and an alt text"):
        plots.show(drawn(), caption, alt)


# ------------------------------------------------------------------------------------------------------ heat maps


def test_a_heat_map_shows_the_matrix_it_is_given():
    matrix = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    axes = plots.heat_map(matrix, rows=["a", "b"], columns=["x", "y", "z"])
    assert np.allclose(axes.images[0].get_array(), matrix.detach())
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_zero_is_the_page_itself():
    positive, signed = plots.heat_map(np.array([[1.0, 3.0]])), plots.heat_map(np.array([[-1.0, 3.0]]))
    assert positive.images[0].cmap(0.0)[3] == 0
    assert positive.images[0].cmap(1.0)[3] == 1
    assert signed.images[0].get_clim() == (-3, 3)
    assert signed.images[0].cmap(0.5)[3] == pytest.approx(0, abs=0.01)
    assert signed.images[0].cmap(0.0) != signed.images[0].cmap(1.0)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2, 2))])
def test_what_is_no_matrix_is_refused(values):
    with pytest.raises(ValueError, match="a matrix with fitting labels"):
        plots.heat_map(values)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="got \\(2, 3\\), 1 rows"):
        plots.heat_map(np.zeros((2, 3)), rows=["a"])


def test_token_boxes_show_every_token_and_no_markup_of_its_own():
    page = plots.token_boxes([" a", "<b>", " a", "\n", "\ufffd"])
    assert page.count("<code") == 5
    assert "␣a" in page and "&lt;b&gt;" in page and "<b>" not in page and "⏎" in page
    first, third = (page.split("<code")[i].split("background:")[1][:7] for i in (1, 3))
    assert first == third  # the same token has the same colour


# ------------------------------------------------------------------------------------------------------- diagrams


@pytest.mark.parametrize("part", PARTS)
def test_the_machine_lights_one_part_and_says_so(part):
    dark, lit = plots.machine()._repr_html_(), plots.machine(part)._repr_html_()
    assert lit.count('stroke-width="2.5"') == dark.count('stroke-width="2.5"') + 1
    assert f"lit: {part}" in lit
    assert plots.machine([part, "token"]).alt.endswith(f"lit: {part}, token.")


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="the machine has the parts text, .*; got 'wheel'"):
        plots.machine(["text", "wheel"])


def diagrams():
    return [
        plots.machine(PARTS),
        plots.heads(),
        plots.residual_stream(),
        plots.residual_stream(norm_first=False),
    ]


def test_diagrams_have_captions_and_words():
    pages = [diagram._repr_html_() for diagram in diagrams()]
    assert all("<figcaption>" in page and "aria-label" in page for page in pages)
    assert pages[2] != pages[3]


# --------------------------------------------------------------------------------------------------------- charts


def maps():
    weights = torch.tensor(
        [[[[1.0, 0, 0], [0.5, 0.5, 0], [0.1, 0.2, 0.7]]], [[[1, 0, 0], [0.9, 0.1, 0], [0.25, 0.5, 0.25]]]]
    )
    big, small = (TOKENS, TOKENS, weights), (["a", "dog", "sat"], ["a", "dog", "sat"], weights.flip(0))
    return plots.attention_map(
        {"big": big, "small": small}, "A map.", "a map", choices=["ending"], row=2, start=(2, 1)
    )


def depths():
    rows = [
        (layers, order, x) for layers in (2, 4) for order in ("post", "pre") for x in range(1, layers + 1)
    ]
    table = {"layers": [r[0] for r in rows], "order": [r[1] for r in rows], "layer": [r[2] for r in rows]}
    table["gradient"] = [layers * x / 10 for layers, _, x in rows]
    return plots.curves(table, "layer", "gradient", "order", "layers", "Gradients.", "gradients", start=2)


KNOWN = {
    "a b": (list("abcde"), [2.0, 1.5, 0.5, 0.0, -1.0], [0, 1]),
    "c": (list("abcde"), [-2.0, 3.0, 3.0, -0.5, 1.0], [2, 2, 3]),
}


def knobs():
    return plots.sampling_knobs(KNOWN, "Knobs.", "bars", name="fig-knobs")


def grid():
    return plots.rounding_knobs("Grid.", "a staircase")


ALL_TEXTS = np.indices((3, 3, 3)).reshape(3, -1).T


def belief():
    exact = HiddenMarkovSource.symmetric().beliefs(ALL_TEXTS)
    return plots.belief_path(ALL_TEXTS, exact, exact[..., ::-1], [0, 0, 1], "Path.", "a triangle")


@pytest.mark.parametrize("make", [maps, depths, knobs, plots.rotary_clocks, grid, belief])
def test_a_chart_is_shown_by_whoever_can(make, monkeypatch):
    monkeypatch.delenv(SITE, raising=False)
    figure = make()
    bundle = figure._repr_mimebundle_()
    assert set(bundle) == {MIME, "text/plain"}, "JupyterLab draws it itself"
    assert bundle["text/plain"] == repr(figure) == bundle[MIME]["description"]
    monkeypatch.setenv(SITE, "1")
    page = figure._repr_mimebundle_()["text/html"]
    assert json.loads(re.search(r"<script type='application/json'>(.*?)</script>", page)[1]) == figure.spec
    assert "<figcaption>" in page
    monkeypatch.delenv(SITE)
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert "vega-embed" in figure._repr_mimebundle_()["text/html"], "Altair's own page"


def test_a_chart_has_its_caption_in_jupyterlab_too(monkeypatch):
    monkeypatch.delenv(SITE, raising=False)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    maps()._ipython_display_()
    assert [set(bundle) for bundle in shown] == [{MIME, "text/plain"}, {"text/html", "text/plain"}]
    assert shown[1]["text/plain"] == maps().caption
    shown.clear()
    monkeypatch.setenv(SITE, "1")
    maps()._ipython_display_()
    assert len(shown) == 1, "a page's figure holds its caption"


def test_a_chart_without_words_is_refused():
    with pytest.raises(ValueError, match="needs a caption and an alt text"):
        plots.chart({"mark": "point"}, "", "a")


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


def shown(browser, tmp_path, monkeypatch, figure):
    """A tab with a chart as the book shows it, and the text that says its setting."""
    monkeypatch.setenv(SITE, "1")
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    tab.goto(page_with(tmp_path, figure._repr_mimebundle_()["text/html"]))
    tab.wait_for_selector(".course-chart[data-drawn]")
    return tab, tab.get_by_role("status")


def becomes(status, words):
    status.filter(has_text=words).wait_for(state="attached", timeout=5000)


@pytest.mark.browser
@needs_chromium
def test_an_attention_map_is_steered_by_keyboard_and_mouse(browser, tmp_path, monkeypatch):
    tab, status = shown(browser, tmp_path, monkeypatch, maps())
    becomes(status, "the looks most at cat, weight 0.50")
    tab.get_by_label("1", exact=True).first.focus()
    tab.keyboard.press("Space")
    becomes(status, "the looks most at the, weight 0.70")
    tab.get_by_role("combobox").select_option(index=1)
    becomes(status, "cat looks most at the, weight 0.50")
    tab.get_by_label("small").check()
    becomes(status, "dog looks most at a, weight 0.90")
    tab.locator(".course-chart path[aria-label*='asks: sat']").first.hover()
    becomes(status, "sat looks most at dog, weight 0.50")
    assert tab.locator("svg[role=img]").get_attribute("aria-label").endswith("weight 0.50")


@pytest.mark.browser
@needs_chromium
def test_rotary_clocks_turn_and_the_score_depends_on_the_distance(browser, tmp_path, monkeypatch):
    tab, status = shown(
        browser, tmp_path, monkeypatch, plots.rotary_clocks(d_head=4, theta=100.0, longest=30)
    )
    query, key = (tab.get_by_role("slider", name=f"place of the {token}") for token in ("query", "key"))
    score = (np.cos(6) + np.cos(0.6)) / 2
    becomes(status, f"distance 6: score {score:.2f}".replace("-", "−"))
    for slider in (query, key):
        slider.focus()
        tab.keyboard.press("ArrowRight")
    becomes(status, f"distance 6: score {score:.2f}".replace("-", "−"))
    key.press("ArrowLeft")
    becomes(status, "distance 7")
    box = query.bounding_box()
    tab.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    becomes(status, "distance -14")


def gaussian_error(bits, clip):
    """Mean squared error of a Gaussian weight on the grid, by an integral over its density."""
    x = np.linspace(-8, 8, 400_001)
    limit = 2 ** (bits - 1) - 1
    rounded = clip / limit * np.clip(np.rint(x * limit / clip), -limit, limit)
    return float(((x - rounded) ** 2 * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)).sum() * (x[1] - x[0]))


@pytest.mark.browser
@needs_chromium
def test_a_grid_is_steered_and_its_error_is_the_integral(browser, tmp_path, monkeypatch):
    tab, status = shown(browser, tmp_path, monkeypatch, grid())
    clip = tab.get_by_role("slider", name="clip")

    def error(bits, at):
        becomes(status, f"{bits} bits, clip {at}: error ")
        return float(re.search(r"error ([\d.e−-]+)", status.inner_text())[1].replace("−", "-"))

    assert error(4, "4.0") == pytest.approx(gaussian_error(4, 4.0), rel=0.05)
    clip.focus()
    for _ in range(15):
        tab.keyboard.press("ArrowLeft")
    assert error(4, "2.5") == pytest.approx(gaussian_error(4, 2.5), rel=0.05)
    tab.get_by_label("2", exact=True).check()
    assert error(2, "2.5") == pytest.approx(gaussian_error(2, 2.5), rel=0.05)
    box = clip.bounding_box()
    tab.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert error(2, "0.5") == pytest.approx(gaussian_error(2, 0.5), rel=0.05)


def test_every_beginning_of_a_text_has_its_belief_and_what_is_read():
    records = {r["text"]: r for r in belief().spec["layer"][0]["data"]["values"]}
    assert len(records) == 1 + 3 + 9 + 27
    assert [records[""][each] for each in "abc"] == pytest.approx([1 / 3] * 3, abs=1e-3)
    for text in ("A", "AA", "AAB", "CBA"):
        ids = ["ABC".index(each) for each in text]
        a, b, c = HiddenMarkovSource.symmetric().beliefs(ids)[-1]
        assert [records[text][each] for each in "abc"] == pytest.approx([a, b, c], abs=1e-3)
        assert records[text]["u"] == pytest.approx(b + a / 2, abs=1e-3), "read: the corners A and C exchanged"
        assert records[text]["v"] == pytest.approx(a * np.sqrt(3) / 2, abs=1e-3)


@pytest.mark.browser
@needs_chromium
def test_a_text_is_chosen_and_its_belief_said(browser, tmp_path, monkeypatch):
    tab, status = shown(browser, tmp_path, monkeypatch, belief())

    def words(text):
        found = HiddenMarkovSource.symmetric().beliefs(["ABC".index(each) for each in text])[-1]
        return f"after {text}: " + ", ".join(f"{n} {x:.2f}" for n, x in zip("ABC", found, strict=True))

    becomes(status, words("AAB"))
    tab.get_by_role("combobox").nth(2).select_option(label="C")
    becomes(status, words("AAC"))
    tab.get_by_role("combobox").nth(0).select_option(label="B")
    becomes(status, words("BAC"))


def after_knobs(text, T=0.7, p=0.7, k=50, penalty=1.0):
    """What the library says of a setting, in the panel's words."""
    tokens, logits, seen = KNOWN[text]
    logits = torch.tensor(logits)
    setting = SamplingParameters(T, k, p, repetition_penalty=penalty)
    probs = process_logits(logits, setting, torch.tensor(seen)).softmax(-1)
    n, mass = int((probs > 0).sum()), logits.softmax(-1)[probs > 0].sum()
    best = f"most likely: {tokens[int(probs.argmax())]}, now {probs.max():.2f}"
    return (
        f"T {T:.2f}, top-p {p:.2f}, top-k {k}, penalty {penalty:.1f}. "
        f"{n} of {len(tokens)} tokens can come; they had {mass:.2f}. {best}"
    )


@pytest.mark.browser
@needs_chromium
def test_the_playgrounds_knobs_give_what_the_library_gives(browser, tmp_path, monkeypatch):
    tab, status = shown(browser, tmp_path, monkeypatch, knobs())
    becomes(status, after_knobs("a b"))
    temperature, top_p, top_k, penalty = (
        tab.get_by_role("slider", name=each)
        for each in ("temperature", "top-p", "top-k", "repetition penalty")
    )
    temperature.press("End")
    becomes(status, after_knobs("a b", T=2.0))
    top_p.press("End")
    becomes(status, after_knobs("a b", T=2.0, p=1.0))
    for _ in range(3):
        penalty.press("ArrowRight")
    becomes(status, after_knobs("a b", T=2.0, p=1.0, penalty=1.3))
    tab.get_by_role("combobox").select_option(label="c")
    becomes(status, after_knobs("c", T=2.0, p=1.0, penalty=1.3))
    top_k.press("Home")
    top_k.press("ArrowRight")
    becomes(status, after_knobs("c", T=2.0, p=1.0, k=2, penalty=1.3))
    penalty.press("ArrowLeft")
    for _ in range(2):
        penalty.press("ArrowLeft")
    top_k.press("ArrowLeft")  # two tokens share the first place: both stay
    becomes(status, after_knobs("c", T=2.0, p=1.0, k=1))
    box = temperature.bounding_box()
    tab.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    becomes(status, after_knobs("c", T=0.1, p=1.0, k=1))


@pytest.mark.browser
@needs_chromium
def test_curves_follow_their_buttons_or_slider(browser, tmp_path, monkeypatch):
    tab, status = shown(browser, tmp_path, monkeypatch, depths())
    becomes(status, "post: gradient, at the end 0.40. pre: gradient, at the end 0.40")
    tab.get_by_label("layers").focus()
    tab.keyboard.press("End")
    becomes(status, "post: gradient, at the end 1.6")


@pytest.mark.browser
@needs_chromium
def test_the_text_of_pictures_and_diagrams_is_large_enough_on_a_phone(browser, tmp_path):
    body = (
        "".join(diagram._repr_html_() for diagram in diagrams()) + plots.show(drawn(), "c", "a")._repr_html_()
    )
    tab = browser.new_page(viewport={"width": 390, "height": 900})
    tab.goto(page_with(tmp_path, f"<div style='width:330px'>{body}</div>"))
    sizes = tab.evaluate(
        "[...document.querySelectorAll('svg text')].map(t => {"
        " const m = t.getScreenCTM(); return Math.hypot(m.a, m.b) * parseFloat(getComputedStyle(t).fontSize); })"
    )
    assert len(sizes) > 40
    assert min(sizes) >= 10.95


def test_verdicts_can_be_read_on_every_page():
    from lecture_lib.checks.message import Shown

    source = inspect.getsource(Shown)
    colors = re.findall(r'"(#[0-9a-f]{6})"', source)
    assert len(colors) == 3
    assert min(contrast("#ffffff", color) for color in colors) >= 4.5, "white text on a badge"


@pytest.mark.slow
def test_a_chain_says_every_step_to_those_who_do_not_see_it():
    picture = plots.chain(
        [("text → ids", "encode, 1"), ("ids → text", "decode, 1")], "Two steps.", "The steps:", "fig-x"
    )
    assert picture.alt == "The steps: text → ids (encode, 1), ids → text (decode, 1)."
    assert picture._repr_html_().count("<rect") == 2
    assert picture._repr_html_().count("<path") == 1  # one arrow between them
    assert 'viewBox="0 0 340 70"' in picture._repr_html_()
