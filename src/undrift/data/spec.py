"""What data are: shape, value range, classes, and the map between data units and model space.

A model sees `y = (x - shift) / scale`, `scale > 0`. Bounded data (images) use the middle and half the width
of their range, so `y` lies in [-1, 1]; measured data (vectors) use each column's mean and standard deviation. Data keep their own
type until the shift is taken away: a time of 1.7e9 seconds has its digits in float64 and none below two minutes in float32.
The map is affine, so densities in the two spaces differ by a constant:

    log p_x(x) = log p_y(y) + log |det dy/dx| = log p_y(y) - sum over entries of log scale

Both directions are computed in float64 and rounded once, the shift of whole numbers in whole numbers. For integers the way there and
back is therefore exact: in model space neighbours are 1 / scale apart, and rounding y to float32 moves it by at most |y| 2^-24,
far less than half of that for every range up to millions of steps.
"""

from __future__ import annotations

import csv
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undrift.error import DataError, ModelError, nearest, printable, short

T = TypeVar("T")
S = TypeVar("S")

__all__ = ["TYPES", "Spec", "type_of"]

TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


def type_of(kind: np.dtype[Any]) -> str | None:
    """The entry `types` of values of this type: None for float32, which is what unbounded values are unless something is said."""
    name = kind.newbyteorder("=").name
    return None if name == "float32" else name


def _whole_limits(name: str) -> tuple[int, int]:
    """The least and the largest number of a type of whole numbers."""
    return (0, 1) if name == "bool" else (int(np.iinfo(name).min), int(np.iinfo(name).max))


def _limits(name: str) -> tuple[float, float]:
    """The least and the largest number of a type that float64 holds as well."""
    if np.dtype(name).kind == "f":
        return float(np.finfo(name).min), float(np.finfo(name).max)
    least, most = _whole_limits(name)
    return float(least), float(most) if most < 2**53 else math.nextafter(float(most), 0.0)


def _paired(kinds: Sequence[T], shifts: Sequence[S]) -> Iterator[tuple[T, S]]:
    """Each shift with its type, where there may be one type for all or one shift for all."""
    n = max(len(kinds), len(shifts))
    return ((kinds[i % len(kinds)], shifts[i % len(shifts)]) for i in range(n))


def _number(value: object) -> int | None:
    """A whole number as people have it: an int, NumPy's, a tensor of one, or a float without a fraction; None for anything else."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        value = value.item() if math.prod(value.shape) == 1 else None
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (float, np.floating)):
        return int(value) if math.isfinite(value) and float(value).is_integer() else None
    try:
        return int(value) if isinstance(value, str) else operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _digits(text: str) -> bool:
    """Whether a text is a whole number that `_number` reads."""
    return text.isascii() and text.isdigit() and len(text) < 20


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Spec:
    """The kind of one example, and the exact map between its units and model space.

    Args:
        shape: Shape of one example without the batch axis: `(D,)` for vectors, `(C, H, W)` for images.
        low: Smallest legal value in data units, or None where the values have no bounds.
        high: Largest legal value; given if and only if `low` is.
        integer: Whether the values are whole numbers.
        shift: Data units; one number, or one for each index of the first axis of `shape` (columns, channels).
        scale: Data units per unit of model space, positive; as `shift`.
        classes: Names of the classes, label i being `classes[i]`; empty where there are none.
        types: NumPy's name of the type of the values in data units, one for all or one for each index of the first axis of
            `shape`; None for uint8 within 0..255, int64 of other integers, and float32.

    Raises:
        ValueError: A field is not of its kind; the message names the field.

    Example:
        >>> spec = Spec.bounded((1, 8, 8), 0, 16, integer=True)
        >>> [spec.to_model(torch.full((1, 8, 8), value)).mean().item() for value in (0, 8, 16)]
        [-1.0, 0.0, 1.0]
    """

    shape: tuple[int, ...]
    low: float | None
    high: float | None
    integer: bool
    shift: float | tuple[float, ...]
    scale: float | tuple[float, ...]
    classes: tuple[str, ...] = ()
    types: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        def require(ok: bool, field: str, wanted: str) -> None:
            if not ok:
                given = repr(getattr(self, field))
                raise ValueError(f'field "{field}" must be {wanted}, but it is {given:.80}.')

        shape = self.shape
        require(
            isinstance(shape, tuple) and 0 < len(shape) <= 64 and all(_is_int(n) and 0 < n < 2**40 for n in shape),
            "shape",
            "a tuple of positive integers",
        )
        require(isinstance(self.integer, bool), "integer", "true or false")
        require(self.low is None or _is_number(self.low), "low", "a finite number or None")
        require(self.high is None or _is_number(self.high), "high", "a finite number or None")
        require((self.low is None) == (self.high is None), "high", "given if and only if `low` is")
        if self.low is not None and self.high is not None:
            require(self.low < self.high, "high", f"greater than low = {self.low}")
            if self.integer:
                require(float(self.low).is_integer(), "low", "a whole number where the values are integers")
                require(float(self.high).is_integer(), "high", "a whole number where the values are integers")
        for field in ("shift", "scale"):
            value = getattr(self, field)
            many = isinstance(value, tuple)
            require(all(map(_is_number, value)) if many else _is_number(value), field, "finite numbers")
            require(not many or len(value) == shape[0], field, f"one number, or {shape[0]} as shape[0] says")
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        require(all(s > 0 for s in scales), "scale", "positive")
        names = self.classes
        require(
            isinstance(names, tuple) and all(isinstance(name, str) and name for name in names) and len({*names}) == len(names),
            "classes",
            "a tuple of distinct, non-empty names",
        )
        require(all(printable(name) == name for name in names), "classes", "names without control characters")
        kinds = self.types if isinstance(self.types, tuple) else () if self.types is None else (self.types,)
        require(
            all(isinstance(kind, str) and kind in TYPES for kind in kinds)
            and (not isinstance(self.types, tuple) or len(kinds) == shape[0]),
            "types",
            f"names of types ({', '.join(TYPES)}), one or {shape[0]} as shape[0] says",
        )
        require(not kinds or self.integer == all(np.dtype(k).kind in "iub" for k in kinds), "integer", "what the types say")

    @classmethod
    def bounded(cls, shape: Sequence[int], low: float, high: float, *, integer: bool, classes: Sequence[str] = ()) -> Self:
        """Values in [low, high], seen by the model in [-1, 1]."""
        return cls(tuple(shape), low, high, integer, (low + high) / 2, (high - low) / 2, tuple(classes))

    @classmethod
    def standardised(
        cls,
        x: NDArray[Any],
        classes: Sequence[str] = (),
        rows: NDArray[np.int64] | None = None,
        types: str | tuple[str, ...] | None = None,
    ) -> Self:
        """Unbounded values, seen by the model with mean 0 and standard deviation 1 over `x`.

        Each column of vectors has its own shift and scale; examples of two or more axes (series, grids, float
        images) share one of each, which keeps neighbouring values comparable. Where all values are equal the
        scale is 1. The shift of whole numbers is a whole number.

        Args:
            x: (N, *shape) finite numbers of any type, N >= 1; read in blocks, so it may be memory-mapped.
            classes: Names of the classes.
            rows: Look at these rows of x only; None for all.
            types: See `Spec`; default: that of x.
        """
        types = type_of(x.dtype) if types is None else types
        axes: Any = 0 if x.ndim == 2 else None
        step = max(1, 2**22 // max(1, math.prod(x.shape[1:])))
        chosen = np.arange(len(x)) if rows is None else rows
        whole, wide = x.dtype.kind in "iu", np.int64 if x.dtype.kind in "iu" else np.float64
        first = x[chosen[0]].astype(wide)
        # Values are taken relative to one of them in their own type, so that the digits that are left are those of their spread.
        # (Those of at most 32 bits are exact in float64 anyway.)
        origin = first if axes == 0 else first.reshape(-1)[0]
        origin = origin if x.dtype.itemsize > 4 else np.zeros_like(origin)

        def blocks() -> Iterator[NDArray[np.float64]]:
            return (
                (x[chosen[i : i + step]].astype(wide) - origin).astype(np.float64, copy=False)
                for i in range(0, len(chosen), step)
            )

        low = np.min([block.min(axis=axes) for block in blocks()], axis=0)
        high = np.max([block.max(axis=axes) for block in blocks()], axis=0)
        count = len(chosen) * (1 if x.ndim == 2 else math.prod(x.shape[1:]))
        mean = sum(block.sum(axis=axes) for block in blocks()) / count
        unit = np.where(low == high, 1.0, np.maximum(high - mean, mean - low)) if x.dtype.itemsize > 4 else 1.0
        square = sum((((block - mean) / unit) ** 2).sum(axis=axes) for block in blocks())
        # The standard deviation of a constant column would be a rounding error: test the values instead.
        scale = np.where(low == high, 1.0, np.sqrt(square / count) * unit)
        shift = np.where(low == high, low, mean)
        shift = origin + (np.rint(shift).astype(np.int64) if whole else shift)
        names = types if isinstance(types, tuple) else (types or "float32",)
        one = x.ndim > 2
        return cls(
            tuple(x.shape[1:]),
            None,
            None,
            all(np.dtype(name).kind in "iub" for name in names),
            shift.item() if one else tuple(shift.tolist()),
            float(scale) if one else tuple(scale.tolist()),
            tuple(classes),
            types,
        )

    @property
    def size(self) -> int:
        """Number of values in one example."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Type of values in data units, that in which all of them can be held where they have several."""
        if self.types is not None:
            names = self.types if isinstance(self.types, tuple) else (self.types,)
            return torch.from_numpy(np.empty(0, np.result_type(*map(np.dtype, names)))).dtype
        if not self.integer:
            return torch.float32
        small = self.low is not None and self.high is not None and self.low >= 0 and self.high <= 255
        return torch.uint8 if small else torch.int64

    def to_model(self, x: Tensor) -> Tensor:
        """(x - shift) / scale.

        Args:
            x: (..., *shape) in data units, any real type.

        Returns:
            (..., *shape) float32 on the device of x.

        Raises:
            ValueError: `x` does not end in `shape`.
        """
        self._check(x)
        one = isinstance(self.shift, (int, float)) and isinstance(self.scale, (int, float))
        if one and x.dtype == torch.uint8 and x.device.type == "cpu":
            # Bytes have 256 possible results: look them up, the same numbers at a fraction of the cost.
            table = self._affine(torch.arange(256))
            return torch.from_numpy(table.numpy()[x.numpy()])
        return self._affine(x)

    def from_model(self, y: Tensor) -> Tensor:
        """The inverse: shift + scale y, clipped to the range and rounded where the values are integers.

        Args:
            y: (..., *shape) in model space.

        Returns:
            (..., *shape) in data units, of type `dtype`, on the device of y.

        Raises:
            ValueError: `y` does not end in `shape`, or has NaN or infinities where integers are wanted.
        """
        self._check(y)
        wide = y.to(_wide(y))
        moved = self.units(self.scale, wide) * wide
        x = self.units(self.shift, wide) + moved
        if self.integer and not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise ValueError(f"{bad:,} of {x.numel():,} values are NaN or infinite, so they have no integer.")
        if self.low is not None:
            x = x.clamp(self.low, self.high)
        elif self.types is not None:
            return self._typed(x, moved)
        return (x.round() if self.integer else x).to(self.dtype)

    def _typed(self, x: Tensor, moved: Tensor) -> Tensor:
        """Unbounded values `x = shift + moved` in the types of the data, held to what these can hold."""
        names = self.types if isinstance(self.types, tuple) else (self.types,)
        if self.integer and self._shift_is_whole:  # so that numbers beyond 2^53 keep their last digits
            ends = [_whole_limits(name) for name in names if name is not None]
            shifts = self.shift if isinstance(self.shift, tuple) else (self.shift,)
            low = [max(least - int(s), -(2**62)) for (least, _), s in _paired(ends, shifts)]
            high = [min(most - int(s), 2**62) for (_, most), s in _paired(ends, shifts)]
            steps = moved.round().clamp(self._column(low, moved), self._column(high, moved)).to(torch.int64)
            shift = torch.tensor(self.shift, dtype=torch.int64, device=x.device)
            return (steps + self._along(shift)).to(self.dtype)
        if isinstance(self.types, tuple):
            whole = self._along(torch.tensor([np.dtype(name).kind in "iub" for name in self.types], device=x.device))
            limits = [_limits(name) for name in self.types]
            x = torch.where(whole, x.round(), x)
        else:
            limits = [_limits(str(self.types))]
            x = x.round() if self.integer else x
        return x.clamp(self._column([a for a, _ in limits], x), self._column([b for _, b in limits], x)).to(self.dtype)

    @property
    def _shift_is_whole(self) -> bool:
        return all(map(_is_int, self.shift if isinstance(self.shift, tuple) else (self.shift,)))

    def _column(self, values: Sequence[float], like: Tensor) -> Tensor:
        """One value for all, or one for each index of the first axis of a sample, so that it broadcasts against a batch."""
        column = torch.tensor(values, dtype=like.dtype, device=like.device)
        return column[0] if len(values) == 1 else self._along(column)

    def _along(self, column: Tensor) -> Tensor:
        return column.reshape(-1, *[1] * (len(self.shape) - 1)) if column.ndim else column

    def log_abs_det(self) -> float:
        """Nats to add to a log density in model space to get the one in data units: log |det dy/dx|.

        For integers one step apart this is the density of the data with uniform noise of width 1
        (dequantised), from which bits per dimension follow without another constant.
        """
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return -self.size / len(scales) * math.fsum(map(math.log, scales))

    def class_index(self, name: str | int) -> int:
        """The label of a class given by name or by number.

        A string is looked up among the names. Where none of these is itself a number, a string of digits is read as a
        number: with classes "1", "2", "3" the string "2" is label 1, and "0" is no class.

        Raises:
            DataError: The data have no classes, or none of that name or number; known classes are named.
        """
        count = len(self.classes)
        if not count:
            raise DataError(f"class {name!r}: this data has no classes; ask without a class.")
        if isinstance(name, str):
            if name in self.classes:
                return self.classes.index(name)
            if not _digits(name) or any(map(_digits, self.classes)):  # classes 1, 2, 3: is 0 a wrong name, or the place of 1?
                hint = f" — known: {', '.join(self.named())}" if _digits(name) else nearest(short(name), self.named())
                raise DataError(f'class "{short(name)}" is unknown{hint}')
        number = _number(name)
        if number is None:
            raise DataError(f"class {short(name)} is neither a name nor a number{nearest(short(name), self.named())}")
        if not 0 <= number < count:
            raise DataError(
                f"class {short(name)} is not in 0..{count - 1} — known: {', '.join(self.named())}; for no class leave it out (None)"
            )
        return number

    def named(self) -> list[str]:
        """The classes for a message or a list, as `read_classes` reads them: names with commas or quotes in double quotes."""
        written = (f'"{name.replace(chr(34), 2 * chr(34))}"' if {",", '"'} & set(name) else name for name in self.classes)
        return [short(name) for name in written]

    def read_classes(self, text: str) -> list[int]:
        """The classes that a text names.

        A text that is the name of a class is that class. Otherwise it is a list with commas, in which names with commas or quotes
        in them stand in double quotes, as in a CSV file: `"a, b",c`.

        Raises:
            DataError: a class that is unknown, or a text that is no such list.
        """
        if text in self.classes:
            return [self.classes.index(text)]
        try:
            words = next(csv.reader([text], skipinitialspace=True, strict=True), [])
        except csv.Error as error:
            raise DataError(
                f"classes {short(text)}: {error}; write each name in double quotes, with commas between them"
            ) from None
        words = [word if word in self.classes else word.strip() for word in words]
        if not words or not all(words):
            raise DataError(f'classes "{short(text)}": name at least one, and none that is empty')
        return [self.class_index(word) for word in words]

    def to_json(self) -> dict[str, Any]:
        """A plain dict of numbers, strings, lists and None; `from_json` gives back an equal spec."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    @classmethod
    def from_json(cls, plain: object) -> Self:
        """The spec that `to_json` wrote.

        Raises:
            ModelError: The dict lacks a field, has one too many, or one is not of its kind; the field is
                named.
        """
        if not isinstance(plain, dict):
            raise ModelError(f"data spec: expected a table, found {type(plain).__name__}; {_DAMAGED}")
        known = [field.name for field in fields(cls)]
        for key in plain:
            if key not in known:
                raise ModelError(f'data spec: field "{short(key)}" is unknown{nearest(short(key), known)}')
        for key in known:
            if key not in plain and key != "types":  # which earlier versions did not write
                raise ModelError(f'data spec: field "{key}" is missing; {_DAMAGED}')
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        try:
            return cls(**values)
        except (ValueError, TypeError, OverflowError) as error:
            raise ModelError(f"data spec: {str(error).rstrip('.')}; {_DAMAGED}") from error

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[-len(self.shape) :]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"expected shape (..., {wanted}), but got {tuple(x.shape)}.")

    def _affine(self, x: Tensor) -> Tensor:
        if not x.is_floating_point() and self.types is not None and self._shift_is_whole:
            shift = self._along(torch.tensor(self.shift, dtype=torch.int64, device=x.device))
            steps = (x.to(torch.int64) - shift).to(_wide(x))
            return (steps / self.units(self.scale, steps)).float()
        wide = x.to(_wide(x))
        return ((wide - self.units(self.shift, wide)) / self.units(self.scale, wide)).float()

    def units(self, value: float | tuple[float, ...], like: Tensor) -> Tensor:
        """`shift` or `scale` as a tensor that broadcasts against a sample: () or (shape[0], 1, ..., 1), like `like`."""
        if not isinstance(value, tuple):
            return torch.full((), value, dtype=like.dtype, device=like.device)
        return self._along(torch.tensor(value, dtype=like.dtype, device=like.device))


_DAMAGED = "the model's file is damaged or was written by another version"


def _wide(x: Tensor) -> torch.dtype:
    """float64 wherever the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64
