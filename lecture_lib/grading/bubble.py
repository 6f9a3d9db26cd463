"""The root in which student code runs, made by bubblewrap: the interpreter, its packages and the library, all read-only.

No network, no home, no course folder, no gradebook, no other submission. Started by root, bubblewrap keeps the kernel's uid 0
behind its ``--uid``: so root lets it make the mounts and drops to a real unprivileged user inside.
"""

import os
import shutil
import site
import sys
from pathlib import Path

import lecture_lib

UID = 60001  # of student code, where root grades
SYSTEM = (
    "/usr /bin /sbin /lib /lib32 /lib64 /etc/ld.so.cache /etc/alternatives /etc/fonts /etc/localtime /etc/python3"
    f" /etc/python3.{sys.version_info.minor}"
).split()


class NoIsolation(RuntimeError):
    """Student code cannot be shut in here; the words say what to do."""


def library() -> Path:
    """The folder of the library."""
    return Path(lecture_lib.__file__).resolve().parent


def packages() -> list[str]:
    """Folders of installed packages, those of a user and of PYTHONPATH included."""
    places = dict.fromkeys((*sys.path, *site.getsitepackages()))
    return [path for path in places if path.endswith(("site-packages", "dist-packages"))]


def visible() -> list[str]:
    """What student code may read, shortest path first, none inside another."""
    python = Path(sys.executable)
    wanted = [*SYSTEM, sys.prefix, sys.base_prefix, str(library()), *packages()]
    while python.is_symlink():  # an interpreter may be a chain of links
        python = python.parent / os.readlink(python)
        wanted.append(str(python.parent.parent.resolve()))
    kept: list[str] = []
    for path in sorted(dict.fromkeys(wanted), key=len):
        inside = any(path == each or path.startswith(f"{each}/") for each in kept)
        if path != "/" and os.path.lexists(path) and not inside:
            kept.append(path)
    return kept


def environment() -> dict[str, str]:
    """What student code finds in its environment: nothing of the instructor's."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/job",
        "TMPDIR": "/job",
        "MPLCONFIGDIR": "/job/matplotlib",
        "IPYTHONDIR": "/job/ipython",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(library().parent), *packages()]),
        "LECTURE_GRADING": "1",
    }


def bubblewrap(command: list[str], scratch_mb: int) -> list[str]:
    """A command inside the root.

    Args:
        command: what to run there.
        scratch_mb: size of each place that can be written.

    Raises:
        NoIsolation: bubblewrap is not installed.
    """
    if shutil.which("bwrap") is None:
        raise NoIsolation(
            "bubblewrap is not installed: apt-get install bubblewrap (Linux; on macOS and Windows grade in a Linux container)"
        )
    return ["bwrap", *_mounts(visible(), str(scratch_mb << 20)), *_alone(), *_as_nobody(command)]


def _mounts(paths: list[str], size: str) -> list[str]:
    words = []
    above = {str(up) for path in paths for up in Path(path).parents} - {"/"}
    for folder in sorted(above):  # bubblewrap's own would be closed to other users
        words += ["--perms", "0755", "--dir", folder]
    for path in paths:
        link = os.path.islink(path)
        words += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/job", "/tmp", "/dev/shm"):
        if not any(path.startswith(f"{place}/") for path in paths):
            words += ["--perms", "1777", "--size", size, "--tmpfs", place]
    return [*words, "--remount-ro", "/", "--chdir", "/job"]


def _alone() -> list[str]:
    return [
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--die-with-parent",
        "--new-session",
    ]


def _as_nobody(command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return ["--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", *command]
    user = f"--reuid={UID} --regid={UID} --clear-groups --inh-caps=-all --no-new-privs".split()
    return [
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CAP_SETUID",
        "--cap-add",
        "CAP_SETGID",
        "setpriv",
        *user,
        *command,
    ]
