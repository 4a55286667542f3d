"""Pictures decoded once: a memory map of bytes on the disk, and a manifest that says of what.

    CACHE/NAME-KEY/manifest.json     the policy, and of each picture: name, size, time of change, hash of the file, hash of the
                                     pixels, and a remark (what was done to it, or why it could not be read)
    CACHE/NAME-KEY/pixels-*.npy      (N, C, H, W) uint8, a row for each picture; of those that could not be read, zeros
    CACHE/NAME-KEY/bad_files.txt     those, with their reasons

The key is a hash of the place and the policy. At the next start names, sizes and times are compared, which reads no picture; what
is new or has changed is decoded, all else is copied from the old map. The manifest is replaced in one go, after the map that it
names is whole, so whatever interrupts leaves the old pair or the new one. Nothing else is kept here: a cache may be deleted at any
time.

Decoding runs on threads, not processes: Pillow lets go of Python's lock while it decodes and scales, and threads start at once
and copy nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from undrift.console import Terminal
from undrift.data.decode import Decoded, Policy, decode, digest
from undrift.data.sources import Pictures
from undrift.error import DataError, OutputError, short
from undrift.schema import Facts, parse_json, validated
from undrift.storage import open_file, read_text, reason, whole, write_bytes

__all__ = ["Record", "Store", "cache_folder", "store"]

_FORMAT = 1  # of the manifest
_CHUNK = 16  # pictures handed to a thread at a time
_AT_ONCE = 2**30  # bytes of pictures that are compared with their hashes at the start; more are compared as they are read


class Manifest(Facts):
    """What manifest.json says; a row for each picture, as in `Record`."""

    model_config = ConfigDict(strict=False)
    format: int
    map: Annotated[str, Field(pattern=r"^pixels-[0-9a-f]{12}\.npy$")]
    pictures: list[tuple[str, int, int, str, str, str]]


class Record(NamedTuple):
    """A row of the manifest. `pixels` is "" for a picture that could not be read; then `remark` says why."""

    name: str
    size: int
    changed: int
    content: str
    pixels: str
    remark: str


@dataclass(frozen=True)
class Store:
    """Decoded pictures. None is used before it was found to be what was decoded.

    Attributes:
        folder: Where they are kept.
        path, start: The file of the map, and where in it the pixels begin.
        x: (N, C, H, W) uint8, memory-mapped.
        records: N of them.
        made: Whether something was decoded just now.
        checked: (N,) bool, which pictures were compared with their hashes.
    """

    folder: Path
    path: Path
    start: int
    x: NDArray[np.uint8]
    records: list[Record]
    checked: NDArray[np.bool_]
    made: bool = False

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Some pictures, (B, C, H, W).

        Raises:
            DataError: one is not what was decoded; the cache is then made anew at the next start.
        """
        found = self.x[rows]
        for picture, row in zip(found, rows.tolist(), strict=True):
            if not self.checked[row]:
                if not self._same(row, np.ascontiguousarray(picture).data):
                    with suppress(OSError):
                        (self.folder / "manifest.json").unlink()
                    raise DataError(
                        f"{self.folder}: the cache is damaged, {short(self.records[row].name)} is not there as it was decoded; it "
                        "will be made anew: run the same command again"
                    )
                self.checked[row] = True
        return found

    def damaged(self) -> list[int]:
        """The pictures that are not what was decoded, after reading all of them."""
        bad, size = [], self.x[0].nbytes if len(self.x) else 0
        with open_file(self.path) as file:  # not through the map, whose pages would count as memory
            file.seek(self.start)
            for row in range(len(self.x)):
                self.checked[row] = self._same(row, file.read(size))
                if not self.checked[row]:
                    bad.append(row)
        return bad

    def _same(self, row: int, content: Any) -> bool:
        pixels = self.records[row].pixels
        return not pixels or digest(content) == pixels


def cache_folder(given: str | None = None) -> Path:
    """Where decoded pictures are kept: as given, else `$UNDRIFT_CACHE`, else the user's cache folder.

    Raises:
        OutputError: the user has no home folder.
    """
    usual = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    named = given or os.environ.get("UNDRIFT_CACHE")
    try:
        return Path(named).expanduser() if named else (Path(usual) if usual else Path.home() / ".cache") / "undrift"
    except RuntimeError:  # no such user, or one without a home
        what = f"{short(named)} names no folder of a user" if named else "there is no home folder to keep decoded pictures in"
        raise OutputError(f"{what}; name a folder with data.cache=DIR or UNDRIFT_CACHE") from None


def console() -> Terminal:
    """Where to say what is being done, out of the way of results."""
    return Terminal(stderr=True)


def store(source: Pictures, policy: Policy, cache: Path, workers: int) -> Store:
    """The pictures of a source, decoded now or before.

    Args:
        source: Where they are.
        policy: What becomes of them.
        cache: The folder that holds all caches.
        workers: Threads.

    Raises:
        OutputError: the cache cannot be written, or the disk is too small for it.
    """
    key = hashlib.sha256(json.dumps([source.origin, asdict(policy)]).encode()).hexdigest()[:12]
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(source.origin).name)[:40]
    folder = cache / f"{stem}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _read(folder, policy)
        if found is None or not _same(found, source):
            with FileLock(folder / ".lock"):  # several processes of one run: the first decodes, the rest find it done
                found = _read(folder, policy)
                if found is None or not _same(found, source):
                    found = _build(folder, source, policy, found, workers)
        if not found.made and found.x.nbytes <= _AT_ONCE and found.damaged():
            with FileLock(folder / ".lock"):
                found = _read(folder, policy) or found
                found = _build(folder, source, policy, found, workers) if found.damaged() else found
    except OSError as error:
        raise OutputError(
            f"the cache {folder} cannot be written ({reason(error)}); name another folder with data.cache=DIR"
        ) from None
    return found


def _same(found: Store, source: Pictures) -> bool:
    return len(found.records) == len(source.entries) and all(
        record[:3] == entry for record, entry in zip(found.records, source.entries, strict=True)
    )


def _read(folder: Path, policy: Policy) -> Store | None:
    """What is there, or None where it is missing or damaged: it can be made again."""
    try:
        manifest = validated(parse_json(read_text(folder / "manifest.json", 2**31)), Manifest)
        records = [Record(*row) for row in manifest.pictures]
        open_file(folder / manifest.map).close()  # a link or a device is not handed on
        x: Any = np.load(folder / manifest.map, mmap_mode="r", allow_pickle=False)
        if manifest.format != _FORMAT or x.dtype != np.uint8 or x.shape != (len(records), *policy.shape):
            return None
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return Store(folder, folder / manifest.map, x.offset, x, records, np.zeros(len(records), bool))


def _build(folder: Path, source: Pictures, policy: Policy, old: Store | None, workers: int) -> Store:
    known = {} if old is None else {record[:3]: row for row, record in enumerate(old.records)}
    bad = set() if old is None else {*old.damaged()}
    kept = [None if known.get(entry[:3]) in bad else known.get(entry[:3]) for entry in source.entries]
    fresh = [row for row, place in enumerate(kept) if place is None]
    if bad:
        console().print(f"{folder}: {len(bad):,} pictures are not there as they were decoded, and are decoded again")
    else:
        _announce(source, old, len(fresh), folder)
    needed = len(source.entries) * int(np.prod(policy.shape))
    if needed > (free := shutil.disk_usage(folder).free):
        raise OutputError(
            f"{folder}: {len(source.entries):,} pictures of {policy.shape} take {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB "
            "are free; name another folder with data.cache=DIR, or use a smaller data.size"
        )
    for left in folder.glob(".*.tmp"):  # of a start that was killed; the lock is ours
        left.unlink()
    path = folder / f"pixels-{uuid.uuid4().hex[:12]}.npy"
    try:
        with whole(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about files that it reads in spite of something
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(kept), *policy.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            made = _in_order(lambda item: decode(item, policy), source.fetch(fresh), workers)
            records = list(_rows(file.write, source, policy, old, kept, _shown(made, len(fresh))))
        facts = {"format": _FORMAT, "origin": source.origin, "policy": asdict(policy), "map": path.name, "pictures": records}
        write_bytes(folder / "manifest.json", json.dumps(facts).encode())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    for other in folder.glob("pixels-*.npy"):
        if other != path:
            with suppress(OSError):  # Windows: still open somewhere
                other.unlink()
    found = _read(folder, policy)
    if found is None or (found.x.nbytes <= _AT_ONCE and found.damaged()):
        raise OutputError(f"{folder}: what was written does not read back; name another folder with data.cache=DIR")
    return replace(found, made=True)


def _rows(
    write: Callable[[bytes], Any],
    source: Pictures,
    policy: Policy,
    old: Store | None,
    kept: list[int | None],
    made: Iterator[Decoded],
) -> Iterator[Record]:
    """Write every row, the old from the old map. Not through a map: a full disk would kill the process instead of being an error."""
    empty = bytes(int(np.prod(policy.shape)))
    for entry, place in zip(source.entries, kept, strict=True):
        if place is not None and old is not None:
            write(old.x[place].tobytes())
            yield old.records[place]
            continue
        content, pixels, remark = next(made)
        raw = empty if pixels is None else pixels.tobytes()
        write(raw)
        yield Record(*entry, content, "" if pixels is None else digest(raw), remark)


def _in_order(work: Callable[[Path | bytes], Decoded], items: Iterator[Path | bytes], workers: int) -> Iterator[Decoded]:
    """`map` on threads that never runs far ahead of who reads the results, so that memory stays small."""
    if workers == 1:
        yield from map(work, items)
        return

    def each(part: list[Path | bytes]) -> list[Decoded]:
        return [work(item) for item in part]

    waiting: deque[Future[list[Decoded]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while part := list(islice(items, _CHUNK)):
                waiting.append(pool.submit(each, part))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _announce(source: Pictures, old: Store | None, fresh: int, folder: Path) -> None:
    if old is None:
        console().print(f"decoding {fresh:,} pictures of {source.origin}, once; they are kept in {folder}")
        return
    before, now = {r.name for r in old.records}, {e.name for e in source.entries}
    new, gone = len(now - before), len(before - now)
    parts = [f"{new:,} new"] * (new > 0) + [f"{fresh - new:,} changed"] * (fresh > new) + [f"{gone:,} removed"] * (gone > 0)
    console().print(f"{source.origin} is not as it was: {', '.join(parts) or 'another order'}")


def _shown(made: Iterable[Decoded], total: int) -> Iterator[Decoded]:
    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), disable=not sys.stderr.isatty(), transient=True) as bar:
        yield from bar.track(made, total=total)
