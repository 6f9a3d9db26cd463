"""``lecture doctor``: what is installed, what this machine has, what will run."""

import importlib.metadata
import os
import platform
import shutil

import typer

PACKAGES = [
    "torch",
    "numpy",
    "matplotlib",
    "altair",
    "ipywidgets",
    "tokenizers",
    "safetensors",
    "transformers",
    "peft",
    "nbgrader",
    "jupyterlab",
    "openai",
    "fastapi",
]


def doctor(
    sandbox: bool = typer.Option(True, help="Also try whether student code can be shut in for grading."),
) -> None:
    """Say what is installed, what this machine has, and what will run."""
    import torch

    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        print(f"  {name:<13} {_version(name)}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: GPU cells will be skipped"
    print(f"CPU    {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    print(f"GPU    {gpu}")
    print(
        f"Memory {_gigabytes(_memory())} of RAM, {_gigabytes(shutil.disk_usage('.').free)} free on this disk"
    )
    if sandbox:
        print(f"Grading: {_grading()}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # Windows
        return 0


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB"


def _grading() -> str:
    from lecture_lib.grading.bubble import NoIsolation
    from lecture_lib.grading.way import WORDS, best

    try:
        way = best()
    except NoIsolation as error:
        return str(error)
    return f"{WORDS[way]} (tried)"
