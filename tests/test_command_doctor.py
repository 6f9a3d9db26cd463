"""`lecture doctor`: what it says of this machine is so, and each thing that is missing is one sentence and exit code 1."""

import importlib
import importlib.metadata
import os
import subprocess
import sys

import pytest
import torch
from classroom import ASSIGNMENT, ROOT, needs_isolation, raw, release, replaced, solved
from packaging.requirements import Requirement
from typer.testing import CliRunner

from lecture_lib.command import app

doctor = importlib.import_module("lecture_lib.command.doctor")  # the package has the function under that name


def said(*words):
    ran = CliRunner().invoke(app, ["doctor", *words])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.output


@pytest.fixture
def whole(monkeypatch):
    """A machine on which everything is installed, whatever this one lacks."""
    here = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: here(name) or "99.0")


def test_a_machine_without_problems(whole):
    code, told = said("--no-sandbox")
    assert code == 0 and "No problem found." in told and "!" not in told
    assert f"torch            {importlib.metadata.version('torch')}" in told
    assert f"{os.cpu_count()} cores" in told and "GB of RAM" in told
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "GPU cells will be skipped"
    assert gpu in told and told.count("yes") == len(doctor.RUNS)


@pytest.mark.parametrize("found", ["", "1.0"])
def test_a_package_that_is_missing_or_old_is_a_sentence(whole, monkeypatch, found):
    here = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: found if name == "torch" else here(name))
    code, told = said("--no-sandbox")
    assert code == 1 and f"! torch {found or 'is not installed'}: torch>=" in told and "Problems: 1." in told
    assert told.count("no: it needs torch") == len(doctor.RUNS)


def test_an_extra_that_is_missing_is_no_problem_but_said(whole, monkeypatch):
    here = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "" if name == "fastapi" else here(name))
    code, told = said("--no-sandbox")
    assert code == 0 and "lecture serve         no: it needs fastapi" in told
    assert told.count("no: it needs") == 1


def test_which_requirements_are_meant():
    plain, extra = Requirement("torch>=2"), Requirement("fastapi>=1; extra == 'serve'")
    assert doctor.needs(plain, "") and not doctor.needs(plain, "serve")
    assert doctor.needs(extra, "serve") and not doctor.needs(extra, "") and not doctor.needs(extra, "hf")
    assert doctor.lacks(Requirement("pytest>=9999")) and not doctor.lacks(Requirement("pytest>=1"))
    assert doctor.lacks(Requirement("no-such-package-here"))


def test_little_memory_is_a_sentence(whole, monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda: 2**30)
    code, told = said("--no-sandbox")
    assert code == 1 and "! 1.0 GB of memory is little" in told


def test_no_bubblewrap_is_a_sentence(whole, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, told = said()
    assert code == 1 and "apt-get install bubblewrap" in told and "bubblewrap: not installed" in told


@pytest.mark.slow
def test_the_courses_solution_is_graded():
    needs_isolation()
    line = [sys.executable, "-m", "lecture_lib.command", "doctor", "--course", str(ROOT), "--chapter"]
    told = {
        chapter: subprocess.run(
            [*line, chapter], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        for chapter in (ASSIGNMENT, "99_x")
    }
    assert "solution of 03_attention gets 23 of 23 points" in told[ASSIGNMENT].stdout
    assert told[ASSIGNMENT].returncode == 0, told[ASSIGNMENT].stdout
    assert told["99_x"].returncode == 1 and "there is no solutions/99_x.md" in told["99_x"].stdout


@pytest.mark.slow
def test_a_solution_that_loses_points_is_a_problem():
    needs_isolation()
    assert doctor.graded(raw(solved()), release(), ASSIGNMENT, "nested") == []
    (problem,) = doctor.graded(
        raw(replaced("split_heads", "split_heads = 7")), release(), ASSIGNMENT, "nested"
    )
    assert "attention.split_heads" in problem  # though it is worth no points
