"""Files: regular ones only, links as far as the user names them, sizes known beforehand, the old content or the new one."""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from undrift.error import OutputError, UndriftError
from undrift.storage import (
    Named,
    NotAFile,
    append,
    memory,
    open_file,
    open_to_lock,
    read_bytes,
    read_text,
    unpacked,
    whole,
    write_array,
    write_atomically,
    write_bytes,
    write_text,
    writing_nothing,
)

OPEN = {"read": open_file, "lock": open_to_lock, "append": lambda path: append(path, b"x")}


@pytest.fixture
def odd(tmp_path):
    """A pipe, a device by a link, a link to a file, a link in a circle, a folder."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("how", OPEN)
@pytest.mark.parametrize(("name", "what"), [
    ("pipe", "pipe or a device"), ("link", "is a link"), ("circle", "is a link"), ("device", "is a link"), ("folder", "is a folder"),
])  # fmt: skip
def test_a_file_of_a_run_is_a_regular_file(odd, how, name, what):
    """And nothing is waited for: a pipe without a reader or a writer would never open."""
    if (how, name) in (("lock", "pipe"), ("append", "pipe")):
        what = "pipe or a device"
    with pytest.raises(NotAFile) as caught:
        OPEN[how](odd / name)
    assert what in caught.value.strerror
    assert (odd / "target").read_bytes() == b"precious"


def test_what_the_user_names_may_be_a_link_but_is_a_file(odd):
    assert read_bytes(odd / "link", own=False) == b"precious"
    for name, what in (
        ("pipe", "pipe or a device"),
        ("device", "pipe or a device"),
        ("circle", "in a circle"),
        ("folder", "folder"),
    ):
        with pytest.raises(NotAFile) as caught:
            read_bytes(odd / name, own=False)
        assert what in caught.value.strerror
    with pytest.raises(FileNotFoundError):
        read_bytes(odd / "nothing", own=False)


def test_locking_and_appending_keep_what_is_there(tmp_path):
    (tmp_path / "x").write_bytes(b"one")
    open_to_lock(tmp_path / "x").close()
    append(tmp_path / "x", b", two")
    assert (tmp_path / "x").read_bytes() == b"one, two"


def test_no_more_is_read_than_such_a_file_may_have(tmp_path):
    (tmp_path / "x").write_bytes(b"12345678")
    assert read_text(tmp_path / "x", 8) == "12345678"
    with pytest.raises(NotAFile) as caught:
        read_text(tmp_path / "x", 7)
    assert "more than 7 bytes" in caught.value.strerror
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "x")


# --- writing


def test_a_link_of_a_run_is_replaced_and_a_link_that_was_named_is_followed(odd):
    write_text(odd / "link", "ours")
    assert not (odd / "link").is_symlink() and (odd / "target").read_bytes() == b"precious"
    (odd / "link").unlink()
    (odd / "link").symlink_to("target")
    write_text(Named(odd / "link"), "theirs")
    assert (odd / "link").is_symlink() and (odd / "target").read_bytes() == b"theirs"
    (odd / "new").symlink_to("not there yet")
    write_text(Named(odd / "new"), "made")
    assert (odd / "not there yet").read_bytes() == b"made"


@pytest.mark.parametrize("place", [Named, lambda path: path])
def test_a_device_stays_a_device(place):
    """As root, renaming a file to /dev/null replaces the device of the whole machine."""
    before = os.stat("/dev/null")
    if place is Named:
        write_text(Named(Path("/dev/null")), "gone")
    else:
        with pytest.raises(OutputError, match="a pipe or a device stands there"):
            write_text(Path("/dev/null"), "gone")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode) and (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


def test_a_pipe_is_written_to_if_somebody_reads(odd):
    with pytest.raises(OutputError, match="a pipe that nobody reads from"):
        write_text(Named(odd / "pipe"), "lost")
    found = []
    reader = threading.Thread(target=lambda: found.append((odd / "pipe").read_bytes()))
    reader.start()
    while not found:
        try:
            write_text(Named(odd / "pipe"), "found")
            break
        except OutputError:  # the reader is not there yet
            continue
    reader.join()
    assert found == [b"found"] and stat.S_ISFIFO((odd / "pipe").stat().st_mode)
    with pytest.raises(OutputError, match="a pipe or a device stands there"):
        write_text(odd / "pipe", "not followed")


@pytest.mark.parametrize("place", [Named, lambda path: path])
def test_all_or_nothing(tmp_path, place):
    path = tmp_path / "file"
    path.write_text("old")

    def fails(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"file cannot be written: No space left on device"):
        write_atomically(place(path), fails)

    def refuses(part):
        raise UndriftError("it is not what it should be")

    with pytest.raises(OutputError, match="it is not what it should be"):
        write_atomically(place(path), lambda part: part.write_text("new"), refuses)
    with suppress(RuntimeError), whole(place(path)) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["file"]
    write_bytes(place(path), b"new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_link_at_the_name_of_the_part_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / f".x.{os.getpid()}.tmp").symlink_to("target")
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "target").read_text() == "precious" and (tmp_path / "x").read_text() == "new"


def test_a_few_bytes_cannot_claim_all_memory(tmp_path):
    unpacked(tmp_path, 100, 2**28)  # a quarter of a GiB of zeros: nothing to worry about
    unpacked(tmp_path, 2**27, 2**30)
    with pytest.raises(NotAFile) as caught:
        unpacked(tmp_path, 2**20, 2**30)
    assert "its 1,048,576 bytes would unpack to 1.0 GiB" in caught.value.strerror
    with pytest.raises(NotAFile) as caught:
        unpacked(tmp_path, 2**60, 2**61)
    assert "GiB are free" in caught.value.strerror
    assert 2**20 < memory() < 2**62


def test_numpy_arrays_are_written_by_their_name(tmp_path):
    write_atomically(tmp_path / "x.npy", lambda path: np.lib.format.open_memmap(path, "w+", np.float32, (3,)).flush())
    assert np.load(tmp_path / "x.npy").shape == (3,)


def test_a_process_that_does_not_write_leaves_everything_as_it_is(tmp_path):
    drawn = []
    with writing_nothing():
        write_text(tmp_path / "folder" / "x", "text")
        append(tmp_path / "log", b"line")
        assert write_array(tmp_path / "x.npy", (2,), (drawn.append(i) or np.zeros(1) for i in range(2))) is None
    assert drawn == [0, 1]  # others may wait for its share of the batches
    assert not list(tmp_path.iterdir())
    write_text(tmp_path / "x", "text")
    assert (tmp_path / "x").read_text() == "text"


def test_what_goes_wrong_in_writing_but_is_no_fault_of_the_file_is_not_called_one(tmp_path):
    def lost(path):
        raise UndriftError("another process is gone")

    with pytest.raises(UndriftError, match=r"^another process is gone"):
        write_atomically(tmp_path / "x", lost)
    with pytest.raises(OutputError, match="x cannot be written: another"):
        write_atomically(tmp_path / "x", lambda path: None, lost)
    assert not list(tmp_path.iterdir())
