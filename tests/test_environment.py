"""One environment: pyproject.toml, requirements.txt and environment.yml agree; the repository's address stands once."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
PINS = {canonicalize_name(name): version for name, version in PINNED}


def requirements():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group if not line.startswith("lecture-lib")]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_pinned_version_is_one_that_the_package_admits(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin, prereleases=True)


def test_what_the_package_needs_on_colab_is_bounded_from_below_only():
    for line in PROJECT["dependencies"]:
        assert {clause.operator for clause in Requirement(line).specifier} <= {">="}, line


def test_conda_users_get_the_same_versions():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
    pairs = (line.split("==") for line in pip if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pairs}
    assert pinned.items() <= PINS.items()
    needed = "jupyter-book jupyterlab torch nbgrader matplotlib ipywidgets tokenizers peft"
    assert set(needed.split()) <= set(pinned)
    assert pip[0].startswith("torch=="), "torch goes in first"


def test_the_installed_versions_are_the_pinned_ones():
    from importlib.metadata import version

    for name, pin in PINS.items():
        try:
            assert version(name).split("+")[0] == pin, name
        except ModuleNotFoundError:
            pytest.fail(f"{name} is pinned but not installed")


def test_the_repositorys_address_stands_in_one_place():
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    slug = url.removeprefix("https://github.com/")
    folders = ("book", "lecture_lib", "scripts", "solutions", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.is_file()]
    written = [p for p in files if p.suffix in (".md", ".py", ".yml") and "vendor" not in p.parts]
    assert not [path for path in written if slug in path.read_text(errors="ignore")]
    assert slug in (ROOT / "README.md").read_text(), "README's badges come from _config.yml: make notebooks"


def test_importing_the_library_is_quick_and_silent():
    command = [sys.executable, "-W", "error", "-c", "import lecture_lib"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
