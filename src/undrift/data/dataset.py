"""A data set: one array of examples, optional labels, and a spec. Checked once, when it is made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from undrift.condition import Condition
from undrift.data.augment import Augment
from undrift.data.spec import TYPES, Spec
from undrift.data.stream import stream
from undrift.device import onto
from undrift.error import DataError
from undrift.noise import Noise

__all__ = ["Dataset"]

_BLOCK = 2**22  # values examined at a time, so that a memory-mapped file is never read as a whole


class Dataset:
    """Examples in data units with what is known about them.

    Args:
        x: (N, *spec.shape) numbers of the type that the spec says, in memory or memory-mapped; kept as they are, never copied or
            changed.
        labels: (N,) integers in 0..len(spec.classes) - 1, or None.
        spec: Shape, range and classes of one example, and the map to model space.
        name: What to call the data in messages: "digits", or the file it came from.
        augment: How training may see them at random; `x` is then larger than `spec.shape` by its margin.

    Attributes:
        spec: As given.
        name: As given.
        labels: (N,) int64 array, or None.

    Raises:
        DataError: `x` is empty, of another shape or type than the spec says, not finite, or out of range; or
            the labels are not one legal integer per example. The message gives the number of offences and the
            first place.
    """

    spec: Spec
    name: str
    labels: NDArray[np.int64] | None
    augment: Augment | None

    def __init__(self, x: NDArray[Any], labels: ArrayLike | None, spec: Spec, name: str, augment: Augment | None = None) -> None:
        _check_values(x, spec if augment is None else _stored(spec, augment), name)
        self.spec, self.name, self.augment = spec, name, augment
        self.labels = None if labels is None else _checked_labels(labels, len(x), spec, name)
        self._x = x
        self._rows: NDArray[np.int64] = np.arange(len(x))
        self._measured = False

    @classmethod
    def of_numbers(
        cls,
        x: NDArray[Any],
        labels: ArrayLike | None,
        name: str,
        classes: Sequence[str] = (),
        augment: Augment | None = None,
        types: tuple[str, ...] | None = None,
    ) -> Self:
        """Numbers of any type: bytes and bools are bounded, all others standardised by what they themselves show.

        Args:
            x: (N, *shape) of any type of numbers.
            labels, name, augment: As in `Dataset`.
            classes: Names of the classes.
            types: Of the columns of a table, which then are standardised whatever they are.

        Raises:
            DataError: As `Dataset`; numbers that are too large, or spread too far.
        """
        shape = tuple(x.shape[1:])
        if types is None and x.dtype == np.uint8:
            return cls(x, labels, Spec.bounded(shape, 0, 255, integer=True, classes=classes), name, augment)
        if types is None and x.dtype == np.bool_:
            spec = replace(Spec.bounded(shape, 0, 1, integer=True, classes=classes), types="bool")
            return cls(x, labels, spec, name, augment)
        if x.dtype.kind == "f" and x.dtype.itemsize > 8:
            x = x.astype(np.float64)
        same = None if types is None else types[0] if len({*types}) == 1 else types
        return cls.measured(x, labels, name, classes, augment, None if same == "float32" else same)

    @classmethod
    def measured(
        cls,
        x: NDArray[Any],
        labels: ArrayLike | None,
        name: str,
        classes: Sequence[str] = (),
        augment: Augment | None = None,
        types: str | tuple[str, ...] | None = None,
    ) -> Self:
        """Unbounded values, standardised by what the data themselves show (see `Spec.standardised`).

        `split` measures again on the training part alone, so nothing of the held-out part leaks into the
        units.
        """
        if isinstance(x, np.ndarray) and x.ndim > 1 and x.size and _native(x).name in TYPES and x.dtype.kind != "b":
            _check_finite(x, name)
            _check_spread(x, name)
            spec = Spec.standardised(x, classes, types=types)
        else:  # let the constructor say what is wrong
            spec = Spec(tuple(x.shape[1:]) or (1,), None, None, False, 0.0, 1.0, tuple(classes))
        dataset = cls(x, labels, spec, name, augment)
        dataset._measured = True
        return dataset

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._rows)

    def __repr__(self) -> str:
        classes = f", {len(self.spec.classes)} classes" if self.labels is not None else ""
        return f"Dataset({self.name}: {len(self):,} of shape {self.spec.shape}{classes})"

    def raw(self, rows: Tensor | None = None) -> Tensor:
        """Examples in data units.

        Args:
            rows: (B,) integers in 0..len - 1, in any order, repeats allowed; None for all.

        Returns:
            (B, *spec.shape) copy on the CPU, in the type in which they are kept.

        Raises:
            ValueError: `rows` is not one axis of integers.
            IndexError: A row is negative or beyond the end.
        """
        return self._seen(self._rows if rows is None else self._rows[self._index(rows)], None)

    def batch(self, rows: Tensor, noise: Noise | None = None, device: torch.device | None = None) -> tuple[Tensor, Tensor | None]:
        """Examples in model space with their labels.

        Args:
            rows: As in `raw`.
            noise: One address for each row, where training sees the examples at random (`augment`); None for as they are.
            device: Where to; bytes travel as bytes, and nobody waits for them. None: the CPU.

        Returns:
            x0, (B, *spec.shape) float32 in model space, and the labels, (B,) int64 or None if there are none.

        Raises:
            ValueError, IndexError: As in `raw`.
        """
        index = self._index(rows)
        labels = None if self.labels is None else torch.from_numpy(self.labels[index])
        x = self._seen(self._rows[index], noise)
        if device is None or device.type == "cpu":
            return self.spec.to_model(x), labels
        there = None if labels is None else onto(labels, device)
        pinned = device.type == "cuda"
        if x.dtype != torch.uint8:
            x = self.spec.to_model(x)
            return onto(x.pin_memory() if pinned else x, device), there
        return self.spec.to_model(onto(x.pin_memory() if pinned else x, device)), there

    def condition(self, rows: Tensor) -> Tensor | Condition | None:
        """What a network may be told of some examples: here their labels, `(B,)` int64, or None if there are none."""
        return None if self.labels is None else torch.from_numpy(self.labels[self._index(rows)])

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Two parts without a common example: for training, and held out.

        Every class gives the same share as nearly as whole examples allow, and the total is `fraction` of the
        whole rounded. Within a class the examples with the smallest keys are held out; a key depends on the
        seed and the row alone, so the split is the same in every process and after every restart. No class
        loses all its examples.

        Args:
            fraction: The held-out share, in (0, 1).
            seed: Any integer from 0 up.

        Returns:
            (train, held_out), each in the order of this set; nothing is copied. Both have one spec.

        Raises:
            ValueError: `fraction` is not in (0, 1), or `seed` is negative.
            DataError: There are too few examples for two parts.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"`fraction`, the held-out share, must lie in (0, 1), but it is {fraction}.")
        keys = stream(seed, "split").random(len(self))
        classes = np.zeros(len(self), np.int64) if self.labels is None else self.labels
        held = np.zeros(len(self), dtype=bool)
        for label, quota in _quotas(classes, fraction).items():
            members = np.flatnonzero(classes == label)
            held[members[np.argsort(keys[members], kind="stable")[:quota]]] = True
        if not held.any():
            raise DataError(
                f"{self.name}: {fraction:g} of {len(self)} examples leaves nothing to hold out; "
                "hold out a larger share or give more data"
            )
        train, rest = self._part(~held), self._part(held)
        if self._measured:
            train.spec = rest.spec = Spec.standardised(self._x, self.spec.classes, train._rows, self.spec.types)
        return train, rest

    def as_float32(self) -> tuple[Self, Spec]:
        """These data as earlier versions read them: every number but bytes rounded to float32 first; and the spec of these rows.

        A run that such a version began goes on with what it began with.
        """
        part = copy(self)
        with np.errstate(over="ignore"):
            part._x = self._x.astype(np.float32)
        return part, Spec.standardised(part._x, self.spec.classes, self._rows)

    def content_hash(self) -> str:
        """SHA-256, in hexadecimal, of the type, the shape and the bytes of the examples and labels, in order.

        The same for equal data wherever they lie (memory or file, any byte layout); another for any other
        order.
        """
        kind = _native(self._x)
        digest = hashlib.sha256(f"{kind.name} {(len(self), *self.spec.shape)} ".encode())
        for rows in _blocks(len(self), self.spec.size):
            digest.update(np.ascontiguousarray(self._x[self._rows[rows]], kind).data)
        if self.labels is not None:
            digest.update(b"labels")
            digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def _seen(self, index: NDArray[np.int64], noise: Noise | None) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(self._take(index), _native(self._x)))
        return x if self.augment is None else self.augment(x, noise)

    def _take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of what is stored."""
        return self._x[index]

    def _part(self, mask: NDArray[np.bool_]) -> Self:
        part = object.__new__(type(self))
        part.spec, part.name, part.augment = self.spec, self.name, self.augment
        part._x, part._measured = self._x, self._measured
        part._rows = self._rows[mask]
        part.labels = None if self.labels is None else self.labels[mask]
        return part

    def _index(self, rows: Tensor) -> NDArray[np.int64]:
        if rows.ndim != 1 or rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool:
            raise ValueError(f"`rows` must be (B,) integers, but it is {tuple(rows.shape)} {rows.dtype}.")
        index: NDArray[np.int64] = rows.detach().cpu().numpy().astype(np.int64)
        beyond = (index < 0) | (index >= len(self))
        if beyond.any():
            raise IndexError(f"row {index[beyond][0]} is not in 0..{len(self) - 1} of {self.name}.")
        return index


def _blocks(count: int, size: int) -> Iterator[slice]:
    rows = max(1, _BLOCK // max(1, size))
    return (slice(i, min(i + rows, count)) for i in range(0, count, rows))


def _quotas(classes: NDArray[np.int64], fraction: float) -> dict[int, int]:
    """How many examples each class holds out: shares by largest remainder, one kept in every class."""
    labels, counts = np.unique(classes, return_counts=True)
    exact = fraction * counts
    quota = np.minimum(np.floor(exact).astype(int), counts - 1)
    left = round(fraction * len(classes)) - int(quota.sum())
    for i in np.argsort(quota - exact, kind="stable"):
        if left > 0 and quota[i] < counts[i] - 1:
            quota[i] += 1
            left -= 1
    return dict(zip(labels.tolist(), quota.tolist(), strict=True))


def _stored(spec: Spec, augment: Augment) -> Spec:
    """The spec of what is stored: taller and wider by the margin."""
    if len(spec.shape) != 3:
        raise DataError(
            f"data.flip and data.random_crop are for pictures, but these data have shape {spec.shape}; leave them out"
        )
    channels, height, width = spec.shape
    return replace(spec, shape=(channels, height + augment.margin, width + augment.margin))


def _native(x: NDArray[Any]) -> np.dtype[Any]:
    """The type of the values, in the byte order of this machine."""
    return x.dtype.newbyteorder("=")


def _check_values(x: NDArray[Any], spec: Spec, name: str) -> None:
    if not isinstance(x, np.ndarray) or _native(x).name not in TYPES:
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise DataError(f"{name}: examples must be an array of numbers, not {kind}; convert them")
    if x.ndim != len(spec.shape) + 1:
        raise DataError(
            f"{name}: expected {len(spec.shape) + 1} axes, (N, {', '.join(map(str, spec.shape))}), "
            f"but the array has {x.ndim}, {x.shape}; reshape it"
        )
    if len(x) == 0:
        raise DataError(f"{name}: there are no examples, the array has shape {x.shape}; give at least one")
    if x.shape[1:] != spec.shape:
        raise DataError(f"{name}: examples have shape {x.shape[1:]}, but the spec says {spec.shape}; reshape them")
    _check_finite(x, name)
    if spec.low is None and spec.integer:
        return
    if x.dtype == np.uint8 and spec.low == 0 and spec.high == 255:
        return
    if spec.low is not None and spec.high is not None:
        low, high = spec.low, spec.high
        _refuse(x, lambda block: (block < low) | (block > high), f"outside {low:g}..{high:g}", name)
    if spec.integer and x.dtype.kind == "f":
        _refuse(x, lambda block: block != np.rint(block), "not whole numbers", name)


def _check_finite(x: NDArray[Any], name: str) -> None:
    if x.dtype.kind == "f":
        _refuse(x, lambda block: ~np.isfinite(block), f"NaN or infinite in {_native(x).name}", name)


def _check_spread(x: NDArray[Any], name: str) -> None:
    """Numbers that can be standardised: in 64 bits, and no further apart than 62 of them or half of what a float holds."""
    if x.dtype.itemsize <= 4:
        return
    ends = [(block.min(), block.max()) for block in (x[rows] for rows in _blocks(len(x), math.prod(x.shape[1:])))]
    low, high = min(a for a, _ in ends).item(), max(b for _, b in ends).item()
    if x.dtype.kind in "iu" and (high > 2**63 - 1 or high - low >= 2**62):
        raise DataError(
            f"{name}: the whole numbers go from {low:,} to {high:,}, too far for 64 bits; subtract an offset, or scale them"
        )
    if x.dtype.kind == "f" and not math.isfinite(4 * max(abs(low), abs(high))):
        raise DataError(f"{name}: the values go from {low:g} to {high:g}, too far to be standardised; scale them")


def _refuse(x: NDArray[Any], wrong: Any, what: str, name: str) -> None:
    """One error for all values that are `wrong`, with their number and the place of the first."""
    bad, first = 0, ""
    for rows in _blocks(len(x), math.prod(x.shape[1:])):
        mask = wrong(x[rows])
        if not mask.any():
            continue
        if not bad:
            place = np.argwhere(mask)[0]
            place[0] += rows.start
            first = f"x[{', '.join(map(str, place))}] = {x[tuple(place)]}"
        bad += int(mask.sum())
    if bad:
        raise DataError(f"{name}: {bad:,} of {x.size:,} values are {what}, the first is {first}; correct or remove them")


def _checked_labels(labels: ArrayLike, count: int, spec: Spec, name: str) -> NDArray[np.int64]:
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise DataError(f"{name}: labels must be (N,) integers, not {given.shape} {given.dtype}; convert them")
    if len(given) != count:
        raise DataError(f"{name}: {count:,} examples but {len(given):,} labels; give each one label")
    if not spec.classes:
        raise DataError(f"{name}: there are labels, but the spec names no classes; give `classes`")
    bad = np.flatnonzero((given < 0) | (given >= len(spec.classes)))
    if len(bad):
        raise DataError(
            f"{name}: {len(bad):,} labels are not in 0..{len(spec.classes) - 1}, the first is "
            f"labels[{bad[0]}] = {given[bad[0]]}; correct them or name more classes"
        )
    return given.astype(np.int64)
