"""Your own pictures: a folder of files, Parquet, or a Hugging Face dataset, decoded once into a memory map."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from undrift.data.augment import Augment
from undrift.data.dataset import Dataset
from undrift.data.decode import Policy
from undrift.data.labels import Problem, numbered
from undrift.data.sources import HUB, Pictures, pictures
from undrift.data.spec import Spec
from undrift.data.store import Store, cache_folder, console, store
from undrift.error import BadFiles, DataError, OutputError
from undrift.storage import reason, write_bytes

__all__ = ["Images", "images"]

_SHOWN = 50  # bad files listed in the terminal


class Images(Dataset):
    """Rows of a memory map of decoded pictures.

    Args:
        stored: The map and its manifest.
        rows: Which of its rows, rising.
        labels: One for each of them, or None.
        spec: Of what is seen: smaller than what is stored where `augment` cuts windows.
        name, augment: As in `Dataset`.
    """

    def __init__(
        self, stored: Store, rows: NDArray[np.int64], labels: Sequence[int] | None, spec: Spec, name: str, augment: Augment | None
    ) -> None:
        super().__init__(stored.x, None, spec, name, augment)
        self._stored, self._rows = stored, rows
        self.labels = None if labels is None else np.asarray(labels, dtype=np.int64)

    def content_hash(self) -> str:
        """SHA-256 of the pictures' own hashes, which were taken when they were decoded, and of the labels: reads no picture."""
        digest = hashlib.sha256(f"pictures {(len(self), *self._x.shape[1:])} ".encode())
        digest.update("".join(self._stored.records[row].pixels for row in self._rows).encode())
        if self.labels is not None:
            digest.update(b"labels")
            digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def _take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        return self._stored.take(index)

    def _part(self, mask: NDArray[np.bool_]) -> Self:
        part = super()._part(mask)
        part._stored = self._stored
        return part


def images(
    data_dir: str | Path,
    size: int | Sequence[int] = 32,
    fit: str = "crop",
    channels: int = 3,
    background: str = "white",
    flip: bool | str = False,
    random_crop: int = 0,
    labels: str = "auto",
    classes: Sequence[str | int] | None = None,
    max_classes: int = 1000,
    image_column: str | None = None,
    label_column: str | None = None,
    part: str = "train",
    config: str | None = None,
    skip_bad: bool = False,
    cache: str | None = None,
    workers: int | None = None,
) -> Dataset:
    """Pictures of any mixture of sizes, modes and formats as one array.

    Args:
        data_dir: A folder of files (folders in it may be classes), a `.parquet` file or a folder of them, a folder written by
            `save_to_disk`, or "hf:OWNER/NAME" on the hub.
        size: Side in pixels, or [height, width].
        fit, channels, background: See `Policy`.
        flip: Whether training sees mirrored pictures: true is "horizontal", or "vertical", "both". See `Augment`.
        random_crop: Pixels of play of the window that training sees. See `Augment`.
        labels: "auto" (a `labels.csv` in the folder; else folders in it, where two or more hold pictures; else none),
            "folders", "none", or the name of a table.
        classes: All classes that may occur, in the order in which to number them; the default is those that occur, sorted.
        max_classes: More are refused.
        image_column: Of Parquet and Hugging Face data, where it is not found by itself.
        label_column: Likewise, "none" for none; or of a table, the heading of the column of classes.
        part, config: Of Hugging Face data: the split, and the configuration.
        skip_bad: Go on without bad files, instead of refusing.
        cache: Where decoded pictures are kept; default `$UNDRIFT_CACHE`, else the user's cache folder.
        workers: Threads that decode; default one for each core.

    Returns:
        x: (N, C, H, W) uint8, memory-mapped.

    Raises:
        BadFiles: files that cannot be used, each with its reason; after trying all of them.
        DataError: nothing to read, an unknown option, a package that is missing.
        OutputError: the cache cannot be written.
    """
    augment = Augment.of(flip, random_crop)
    height, width = _sides(size)
    policy = Policy(height + random_crop, width + random_crop, fit, channels, background)  # type: ignore[arg-type]
    if not isinstance(skip_bad, bool):
        raise DataError(f"data.skip_bad={skip_bad}: give true or false")
    if workers is not None and workers < 1:
        raise DataError(f"data.workers={workers}: give a number of threads from 1 up")
    place = str(data_dir)
    source = pictures(place, str(labels), image_column, label_column, part, config)
    names = [entry.name for entry in source.entries]
    numbers: list[int] | None = None
    known: tuple[str, ...] = ()
    problems = list(source.problems)
    if source.labelled is not None:
        found, problems = source.labelled.labels, problems + source.labelled.problems
        wanted = list(map(str, classes)) if classes is not None else source.classes
        numbers, known, unknown = numbered(found, names, wanted, max_classes, source.source)
        problems += unknown
    elif classes is not None:
        raise DataError(f"{place}: data.classes are given, but the pictures have no labels; leave them out, or give a labels.csv")
    stored = store(source, policy, cache_folder(cache), workers or _cores())
    broken = [Problem(r.name, r.remark) for r in stored.records if not r.pixels]
    problems = [p for p in problems if p.where not in {b.where for b in broken}] + broken  # a file is listed once
    rows = [i for i, r in enumerate(stored.records) if r.pixels and (numbers is None or numbers[i] >= 0)]
    _judge(place, problems, len(rows), len(names), skip_bad, stored.folder)
    if stored.made:
        _tell(source, stored, rows, policy)
    spec = Spec.bounded((channels, height, width), 0, 255, integer=True, classes=known)
    chosen = None if numbers is None else [numbers[i] for i in rows]
    name = place.removeprefix(HUB) if place.startswith(HUB) else Path(place).expanduser().resolve().name
    return Images(stored, np.array(rows, dtype=np.int64), chosen, spec, name, augment)


def _sides(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in sides):
        raise DataError(f"data.size={size}: give a side in pixels, or [height, width]")
    return sides


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _judge(place: str, problems: list[Problem], good: int, total: int, skip_bad: bool, folder: Path) -> None:
    """Refuse bad files, or say how many are left out."""
    listed = folder / "bad_files.txt"
    try:
        if problems:
            write_bytes(listed, "".join(f"{p}\n" for p in problems).encode("utf-8", "backslashreplace"))
        else:
            listed.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{listed} cannot be written ({reason(error)}); name another folder with data.cache=DIR") from None
    if not problems:
        return
    count = f"{len(problems):,} {'thing is' if len(problems) == 1 else 'things are'} wrong with {place}"
    if skip_bad and good:
        console().print(f"{count}: going on with {good:,} of {total:,} pictures; the list is in {listed}")
        return
    lines = [
        f"{count}; mend {'it' if len(problems) == 1 else 'them'}, or go on without with --skip-bad:"
        if good
        else f"{count}, and no picture is left:"
    ]
    lines += [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN:,} more; all are listed in {listed}")
    raise BadFiles("\n".join(lines))


_REMARKS = {
    "frames": "have several frames or pages, of which the first was taken",
    "turned": "were turned upright as their EXIF data say",
    "alpha": "have transparency",
    "CMYK": "are CMYK and were converted without a colour profile",
    "16 bits": "have 16 bits, of which 0..65535 became 0..255",
    "enlarged": "are smaller than data.size and were enlarged",
}


def _tell(source: Pictures, stored: Store, rows: list[int], policy: Policy) -> None:
    """What was done to the pictures that is not a matter of course."""
    notes, records = list(source.notes), [stored.records[row] for row in rows]
    counts = Counter(remark for record in records for remark in record.remark.split(", ") if remark)
    for remark, meaning in _REMARKS.items():
        if counts[remark]:
            below = f" and were put on {policy.background}" if remark == "alpha" and policy.channels != 4 else ""
            notes.append(f"{counts[remark]:,} {meaning}{below}")
    if copies := len(records) - len({record.content for record in records}):
        notes.append(f"{copies:,} are exact copies of others, which may be held out")
    for note in notes:
        console().print(f"  {note}")
