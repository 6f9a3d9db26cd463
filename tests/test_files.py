"""Files: a reader finds the old one or the new one, whole, whatever happens while it is written."""

import errno
import os
import resource
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecture_lib.files import atomic_write, read_json, read_text, write_text

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def only(folder):
    """The one file of a folder: nothing half written lies beside it."""
    (path,) = folder.iterdir()
    return path


# --- written whole --------------------------------------------------------------------------------------------------
@given(text=st.text())
def test_a_text_comes_back_letter_by_letter(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text"
    for content in ("what stood there before, and was longer than that" * 9, text):
        write_text(path, content)
        assert read_text(path) == content
    assert path.read_bytes() == text.encode("utf-8")  # line ends too


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "numbers.txt"
    write_text(path, "old")
    with atomic_write(path) as part:
        part.write_text("half")
        assert path.read_text() == "old" and part.parent == tmp_path
    assert path.read_text() == "half" and only(tmp_path) == path


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "a") as part:
            part.unlink()  # some writers make the file anew, for its owner alone
            os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        (tmp_path / "b").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    texts = [letter * 100_000 for letter in "abcd"]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert only(tmp_path).read_text() in texts


def test_a_name_as_long_as_the_system_allows(tmp_path):
    write_text(tmp_path / ("n" * 255), "x")
    assert only(tmp_path).read_text() == "x"


# --- or not at all --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("fails", ["write", "fsync", "replace", "size"])
def test_a_full_disk_leaves_what_stood_there(tmp_path, monkeypatch, fails, there):
    path = tmp_path / "a.txt"
    if there:
        path.write_text("old")

    def full(*args):
        raise FULL

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if fails == "size":  # the system itself refuses to let the file grow
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    else:
        monkeypatch.setattr("pathlib.Path.write_bytes" if fails == "write" else f"os.{fails}", full)
    kept = "the one before it is unharmed" if there else "there is none before it"
    reason = "File too large" if fails == "size" else "No space left on device"
    try:
        with pytest.raises(OSError) as caught:
            write_text(path, "x" * 9999)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        monkeypatch.undo()
    assert str(caught.value) == f"could not write a.txt ({reason}); {kept}: {path}"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"] * there


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TypeError, KeyError])
def test_whatever_stops_the_writer_is_passed_on_and_leaves_nothing(tmp_path, error):
    with pytest.raises(error), atomic_write(tmp_path / "a") as part:
        part.write_text("half")
        raise error("why")
    assert not list(tmp_path.iterdir())


def test_what_else_a_writer_raises_when_the_disk_refuses(tmp_path):
    sentence = r"^could not write a checkpoint \(bad block\); there is none before it: .*a$"
    disk = atomic_write(tmp_path / "a", "a checkpoint", (RuntimeError,))
    with pytest.raises(OSError, match=sentence), disk:
        raise RuntimeError("bad block\nand ten lines of where")
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a"):
        raise RuntimeError("no failure of the disk")


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    command = f"""
import os, signal
from lecture_lib.files import atomic_write
with atomic_write({str(path)!r}) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", command]).returncode == -9
    assert path.read_text() == "old"


# --- errors ---------------------------------------------------------------------------------------------------------
def test_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^cannot write a: there is no folder .*nowhere$"):
        write_text(tmp_path / "nowhere" / "a", "x")
    with pytest.raises(ValueError, match="is a folder; give a file name"):
        write_text(tmp_path, "x")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a", "half a pair: \ud800")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b'{"a": 1', "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"a": 1}}', "is not valid JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "is not valid JSON"),  # Python refuses to read such a number
        (b"[1, 2]", "holds a list, not an object"),
        (b"null", "holds a NoneType, not an object"),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
    ],
)
def test_damaged_json_is_one_clear_sentence(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < len(str(path)) + 50


def test_an_object_is_read_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('{"é": [1, 2.5, null, {"b": "\\ud83d\\ude00"}]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"é": [1, 2.5, None, {"b": "😀"}]}
