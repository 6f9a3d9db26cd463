"""The build: which pages run again, what the book makes of figures and docstrings, the README's built parts."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from scripts import readme, run, settings, shown

sys.path.insert(0, str(settings.ROOT / "book" / "_ext"))
import chapters as chapter_pages  # noqa: E402
import docstrings  # noqa: E402
import figures  # noqa: E402


def page(code):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A small course with a library of two modules."""
    for name in ("lecture_lib/one.py", "lecture_lib/two.py", "lecture_lib/__init__.py", "book/page.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "RECORDS", tmp_path / "runs")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_a_page_runs_again_when_its_code_or_a_module_that_it_imports_has_changed(course):
    cache, notebook = get_cache(course / "cache"), page("from lecture_lib import one\nprint(one.x + 1)")
    assert not run.is_current("book/page", notebook, cache, run.library())
    modules, seconds = run.run("book/page", notebook, timeout=60)
    assert notebook.cells[0].outputs[0].text == "2\n"
    assert len(notebook.cells) == 1
    assert seconds > 0
    used = run.used(modules, run.library())
    assert set(used) == {"lecture_lib/__init__.py", "lecture_lib/one.py"}
    cache.cache_notebook_bundle(CacheBundleIn(notebook, "page", data={}), check_validity=False)
    run.record_path("book/page").parent.mkdir()
    run.record_path("book/page").write_text(json.dumps(used))

    def current(code):
        return run.is_current("book/page", page(code), cache, run.library())

    same = "from lecture_lib import one\nprint(one.x + 1)"
    assert current(same)
    assert not current(same + " # changed")
    (course / "lecture_lib" / "two.py").write_text("x = 2\n")
    assert current(same), "this page does not import the second module"
    (course / "lecture_lib" / "one.py").write_text("x = 2\n")
    assert not current(same)


def test_what_is_no_module_counts_beside_the_modules_that_are_used():
    known = {"lib/a/x.py": "1", "lib/a/x.js": "2", "lib/b/y.js": "3", "lib/b/y.py": "4"}
    assert run.used([str(run.ROOT / "lib/a/x.py")], known) == {"lib/a/x.py": "1", "lib/a/x.js": "2"}


def test_every_page_of_the_contents_is_there():
    documents = run.documents()
    assert documents[0] == "book/index"
    assert len(documents) == len(set(documents))
    assert {f"notebooks/{name}/{name}" for name in settings.chapters()} <= set(documents)
    for document in documents:
        assert any((settings.ROOT / document).with_suffix(end).exists() for end in (".md", ".ipynb")), (
            document
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", settings.chapters())
def test_an_exercise_page_hides_the_solution_and_says_so(name):
    hidden, open_ = (nbformat.reads(shown.page(name, solutions), as_version=4) for solutions in (False, True))
    notes = [cell for cell in hidden.cells if cell.source == shown.HIDDEN]
    checks = [cell for cell in hidden.cells if "\ncheck(" in f"\n{cell.source}"]
    assert len(notes) == len(checks) >= 3
    assert shown.HIDDEN not in [cell.source for cell in open_.cells]
    for cell in hidden.cells:
        if cell.metadata.get("tags") == ["remove-input"]:
            assert "SOLUTION" not in cell.source
    assert "Model answer" in str(open_)
    assert "Model answer" not in str(hidden)


def test_the_books_address_comes_from_the_one_place(monkeypatch):
    monkeypatch.setattr(
        settings, "config", lambda: {"repository": {"url": "https://github.com/Ada/llm/", "branch": "b"}}
    )
    assert settings.book_url("book/setup.html") == "https://ada.github.io/llm/book/setup.html"
    assert settings.colab_url("01_x").endswith("/github/Ada/llm/blob/b/notebooks/01_x/01_x.ipynb")


@pytest.mark.slow
def test_the_readme_prints_what_its_example_prints():
    text = (settings.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.readme(text) == text, "`make notebooks` builds the README's table and output"
    assert "√D_v instead of √D_k" in text


def test_the_moving_picture_has_a_frame_for_each_merge():
    picture = readme.moving_picture([["a", "b", "c"], ["ab", "c"], ["abc"]])
    assert picture.count("<g style") == 3
    assert picture.count("<rect") == 3 + 2 + 1
    assert "prefers-reduced-motion" in picture


# ------------------------------------------------------------------------------------------------ the extension


def test_a_caption_is_set_as_markdown_is():
    kinds = [type(node) for node in figures.inline("a $x_1$, *b*, **c** and `d`.")]
    assert [kind for kind in kinds if kind is not nodes.Text] == [
        nodes.math,
        nodes.emphasis,
        nodes.strong,
        nodes.literal,
    ]
    assert "".join(node.astext() for node in figures.inline("a $x_1$ b")) == "a x_1 b"


def test_figures_are_recognised_by_what_the_library_writes():
    from lecture_lib import plots

    found = figures.FIGURE.fullmatch(plots.machine("ids", caption="a < b", name="fig-m")._repr_html_())
    assert found[1] == "fig-m"
    assert found[2].startswith("<svg")
    assert found[3] == "a &lt; b"


def test_a_long_docstring_is_folded():
    code = 'def f(x):\n    r"""First.\n\n    Args:\n        x: a number.\n    """\n    return x'
    short, whole = docstrings.split(code)
    assert short == 'def f(x):\n    r"""First. ..."""\n    return x'
    assert whole.startswith("First.\n\nArgs:")
    assert docstrings.split("x = 1") is None
    assert docstrings.split("def f(:") is None


# ------------------------------------------------------------------------------------------------------ commands


@pytest.mark.slow
def test_commands_work_in_a_folder_with_a_space_in_its_name(tmp_path):
    root = tmp_path / "my course"
    subprocess.run(["git", "clone", "-q", settings.ROOT, root], check=True)
    (root / ".venv").symlink_to(sys.prefix)
    command = ["make", "-o", ".venv/.ready", "notebooks", "gradebook"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (root / "_grading" / "gradebook.db").exists()
    changed = subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True).stdout
    assert re.sub(r"\?\? \.venv\n?", "", changed) == ""


def test_the_contents_and_the_chapters_agree():
    toc = yaml.safe_load((settings.ROOT / "_toc.yml").read_text())
    chapters = next(part for part in toc["parts"] if part["caption"] == "Chapters")["chapters"]
    assert [chapter["file"].removeprefix("book/") for chapter in chapters] == settings.chapters()


def test_a_chapter_has_the_number_of_its_file(monkeypatch):
    """Sphinx counts by place; its figures are numbered afterwards, by what then stands there."""
    seen = []
    collector = chapter_pages.TocTreeCollector
    monkeypatch.setattr(
        collector, "assign_figure_numbers", lambda self, env: seen.append(env.toc_secnumbers) or []
    )
    chapter_pages.number_by_name()
    link = nodes.reference("", "The arena", secnumber=[5])
    env = SimpleNamespace(
        toc_secnumbers={
            "book/11_arena": {"": (5,), "#part": (5, 2), "#none": None},
            "book/setup": {"": (1,)},
        },
        titles={"book/11_arena": nodes.title("", "The arena", secnumber=[5])},
        tocs={"book/11_arena": nodes.bullet_list("", nodes.list_item("", link))},
    )
    collector.assign_figure_numbers(None, env)
    assert seen == [{"book/11_arena": {"": (11,), "#part": (11, 2), "#none": None}, "book/setup": {"": (1,)}}]
    assert env.titles["book/11_arena"]["secnumber"] == link["secnumber"] == [11]
