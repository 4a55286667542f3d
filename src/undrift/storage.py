"""Files: one way to open, read, hold and replace them.

    reading    regular files only, since a pipe or a device would never end; the size is known before memory is taken
    writing    beside the file, flushed to the disk, then renamed: the old file or the new one, never half of it
    links      a run's own files and those of a cache are never reached through a link, which could lead anywhere;
               a file that the user names may be a link, and is followed

A file that the user names for output may also be a pipe or a device such as /dev/stdout: that is written to, and never replaced.

Where several processes run the same program, only the first writes a run's files and those that the user named: in the others
`write_atomically`, `write_array` and `append` do nothing. Caches of data are each process's own affair.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from undrift.error import OutputError, UndriftError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXT = 2**26  # bytes: the most that a description or a log may have

_NOFOLLOW, _NONBLOCK = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_BINARY, _CLOEXEC = getattr(os, "O_BINARY", 0), getattr(os, "O_CLOEXEC", 0)


class NotAFile(OSError):
    """Something else than a regular file stands there, or more than such a file may hold; `strerror` says what."""


@dataclass(frozen=True)
class Named:
    """A place for output that the user named: links are followed, pipes and devices are written to.

    Attributes:
        path: As it was named.
    """

    path: Path

    @classmethod
    def of(cls, text: str) -> Named:
        """From a word of the command line."""
        return cls(Path(text))

    def __str__(self) -> str:
        return str(self.path)

    def with_suffix(self, suffix: str) -> Named:
        """A place beside it."""
        return Named(self.path.with_suffix(suffix))


Place = Path | Named


_writes = True  # whether this process is the one that writes


@contextmanager
def writing_nothing() -> Iterator[None]:
    """Inside, this process writes no file of a run: another process, which runs the same program, does."""
    global _writes
    before, _writes = _writes, False
    try:
        yield
    finally:
        _writes = before


def writes() -> bool:
    """Whether this process is the one that writes."""
    return _writes


def path_of(place: Place) -> Path:
    """Where a place is."""
    return place.path if isinstance(place, Named) else place


def open_file(path: Path, own: bool = True) -> BinaryIO:
    """A regular file, open for reading.

    Args:
        path: The file.
        own: Whether it is one of a run or a cache, which must not be a link.

    Raises:
        FileNotFoundError: there is none.
        NotAFile: it is a folder, a pipe, a device, or a link where it must not be one.
        OSError: it cannot be opened.
    """
    return os.fdopen(_opened(path, os.O_RDONLY | _BINARY, own), "rb")


def read_bytes(path: Path, most: int = TEXT, own: bool = True) -> bytes:
    """All of a file of at most so many bytes. Raises as `open_file`, and NotAFile if it has more."""
    with open_file(path, own) as file:
        found = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
        while len(found) <= most and (block := file.read(2**20)):  # it may grow, or say that it is empty as those of /proc do
            found += block
    if len(found) > most:
        raise NotAFile(errno.EFBIG, f"it has more than {most:,} bytes, the most that such a file may have", str(path))
    return found


def read_text(path: Path, most: int = TEXT, own: bool = True, errors: str = "strict") -> str:
    """All of a text in UTF-8. Raises as `read_bytes`, and UnicodeDecodeError."""
    return read_bytes(path, most, own).decode("utf-8", errors)


def reason(error: BaseException) -> str:
    """Why a file cannot be read or written, in a few words without its name."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__


def signature(by: str) -> bytes:
    """Who wrote a file, at the end of one whose format has no room for it: readers of pictures and arrays stop before, and those of
    formats that are made of boxes skip a box that is called free."""
    return (8 + len(by)).to_bytes(4, "big") + b"free" + by.encode("ascii")


def signed_by(path: Path) -> str:
    """Who wrote a file with a `signature`; "" for any other file."""
    with suppress(OSError), open_file(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 64))
        if found := re.search(rb"\0\0\0.free(undrift[ a-z-]*)\Z", file.read(), re.DOTALL):
            return found.group(1).decode("ascii")
    return ""


def append(path: Path, content: bytes) -> None:
    """Add to the end of a run's own file, made if there is none. Raises as `open_file`."""
    if _writes:
        with os.fdopen(_opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY, True), "ab") as file:
            file.write(content)


def open_to_lock(path: Path) -> BinaryIO:
    """A run's own file, made if there is none, open to be locked; what is in it stays. Raises as `open_file`."""
    return os.fdopen(_opened(path, os.O_RDWR | os.O_CREAT | _BINARY, True), "r+b")


def _opened(path: Path, flags: int, own: bool) -> int:
    """A descriptor of a regular file. Opening never waits: a pipe without a writer would let it wait for ever."""
    try:
        descriptor = os.open(path, flags | _NONBLOCK | _CLOEXEC | (_NOFOLLOW if own else 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) and path.is_symlink():
            what = "it is a link, and links are not followed here" if own else "it is a link in a circle"
            raise NotAFile(errno.ELOOP, what, str(path)) from None
        if error.errno == errno.ENXIO:
            raise NotAFile(errno.ENXIO, "it is a pipe or a device and not a file", str(path)) from None
        if error.errno == errno.EISDIR:
            raise NotAFile(errno.EISDIR, "it is a folder", str(path)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device and not a file"
        raise NotAFile(errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO, what, str(path))
    if own and not _NOFOLLOW and path.is_symlink():  # where the system cannot refuse by itself
        os.close(descriptor)
        raise NotAFile(errno.ELOOP, "it is a link, and links are not followed here", str(path))
    return descriptor


@contextmanager
def whole(place: Place) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name once the block ends, flushed to the disk; an error leaves what was there.

    Raises:
        OSError: it cannot be written.
    """
    with beside(place) as part, open(part, "wb") as file:
        yield file


def write_bytes(place: Place, content: bytes) -> None:
    """Some bytes, as a file, whole or not at all. Raises OSError."""
    with whole(place) as file:
        file.write(content)


def write_atomically(place: Place, write: Callable[[Path], object], check: Callable[[Path], object] | None = None) -> None:
    """Let `write` make a file beside the place, flush it to the disk, and rename it.

    Args:
        place: A run's own file, or one that the user named.
        write: Writes it, wherever it is told.
        check: Reads what was written back, and raises UndriftError unless it is what it should be; the old file is then kept.

    Raises:
        OutputError: it cannot be written.
    """
    if not _writes:
        return
    path = path_of(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(place, None if check is None else lambda part: _sound(part, check)) as part:
            write(part)
    except OSError as error:  # what `write` raises for other reasons is no fault of the file's
        raise OutputError(f"{path} cannot be written: {reason(error)}") from None


def _sound(part: Path, check: Callable[[Path], object]) -> None:
    try:
        check(part)
    except UndriftError as error:
        raise OSError(str(error)) from None


def write_text(place: Place, text: str) -> None:
    """A text in UTF-8, whole or not at all. Raises OutputError."""
    write_atomically(place, lambda path: path.write_bytes(text.encode()))


def write_array(path: Path, shape: tuple[int, ...], parts: Iterable[NDArray[Any]]) -> NDArray[Any] | None:
    """Write batches to one `.npy` file as they come, under another name until it is complete; it ends with a `signature`.

    Args:
        path: The file; or a pipe or a device.
        shape: Of all batches together.
        parts: The batches.

    Returns:
        What the file holds, mapped; None in a process that does not write.

    Raises:
        OutputError: it cannot be written.
    """
    import numpy as np

    if path.suffix != ".npy" and not is_stream(path):
        raise OutputError(f"{path}: samples are written as a numpy array; name a .npy file")
    if not _writes:
        for _ in parts:  # the first process waits for this one's share
            pass
        return None
    row, array = 0, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(Named(path)) as part:
            for values in parts:
                if array is None:
                    array = np.lib.format.open_memmap(part, "w+", values.dtype, shape)
                array[row : row + len(values)] = values
                row += len(values)
            assert array is not None
            array.flush()
            with open(part, "ab") as file:
                file.write(signature("undrift"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}") from None
    return array


@contextmanager
def beside(place: Place, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """A path to write to; what is there when the block ends takes the name of the place."""
    path = path_of(place)
    mode = _mode(path, follow=isinstance(place, Named))
    if mode is not None and stat.S_ISDIR(mode):
        raise NotAFile(errno.EISDIR, "it is a folder", str(path))
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        if not isinstance(place, Named) or stat.S_ISBLK(mode):
            raise NotAFile(errno.ENXIO, "a pipe or a device stands there; move it away", str(path))
        with _through(path) as part:
            yield part
        return
    if isinstance(place, Named):
        path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        part.unlink()
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o666))  # ours: nobody else's link is followed
    try:
        yield part
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
            if check is not None and hasattr(os, "posix_fadvise"):  # so that the disk is read, not the memory in front of it
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if check is not None:
            check(part)
        os.replace(part, path)
        flush_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _through(path: Path) -> Iterator[Path]:
    """A path to write to; what is there when the block ends is sent into a pipe or a device."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / (path.name or "output")
        yield part
        try:
            descriptor = os.open(path, os.O_WRONLY | _NONBLOCK | _CLOEXEC | _BINARY)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise NotAFile(errno.ENXIO, "it is a pipe that nobody reads from", str(path)) from None
            raise
        with suppress(AttributeError, OSError):
            os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as target, open(part, "rb") as source:
            shutil.copyfileobj(source, target)


def _mode(path: Path, follow: bool) -> int | None:
    """What stands there; None if nothing does."""
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_stream(path: Path) -> bool:
    """Whether a pipe or a device stands there, links followed."""
    mode = _mode(path, follow=True)
    return mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def flush_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unpacked(path: Path, packed: int, size: int) -> None:
    """Whether the content of a compressed file may be unpacked into memory: a few bytes can claim any amount of it.

    Args:
        path: For the message.
        packed, size: Bytes that it takes on the disk, and in memory.

    Raises:
        NotAFile: it would take over a quarter of a GiB and 200 times as much as the file, or more memory than there is.
    """
    if size > 2**28 and size > 200 * packed:
        what = f"its {packed:,} bytes would unpack to {size / 2**30:.1f} GiB, as only damaged or hostile files do"
        raise NotAFile(errno.EFBIG, f"{what}; write it without compression", str(path))
    if size > (free := memory()):
        what = f"it takes {size / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
        raise NotAFile(errno.ENOMEM, f"{what}; write it without compression, which is read without unpacking", str(path))


def memory() -> int:
    """Bytes of memory that are free, as far as the system tells; else more than there can be."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration, IndexError):
        with suppress(AttributeError, ValueError, OSError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return 2**62


def affordable(what: str, n: int, size: int) -> None:
    """Before any work: do n samples of `size` numbers each fit into memory, twice over?

    Raises:
        UndriftError: they do not; `what` is the option or argument that asked for them.
    """
    needed, free = 8 * n * size, memory()
    if needed > free:
        raise UndriftError(
            f"{what}: that takes {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free; ask for fewer"
        )
