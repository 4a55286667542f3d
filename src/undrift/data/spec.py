"""What data are: shape, value range, classes, and the map between data units and model space.

A model sees `y = (x - shift) / scale`, `scale > 0`. Bounded data (images) use the middle and half the width
of their range, so `y` lies in [-1, 1]; measured data (vectors) use each column's mean and standard deviation.
The map is affine, so densities in the two spaces differ by a constant:

    log p_x(x) = log p_y(y) + log |det dy/dx| = log p_y(y) - sum over entries of log scale

Both directions are computed in float64 and rounded once. For integers the way there and back is therefore
exact: in model space neighbours are 1 / scale apart, and rounding y to float32 moves it by at most |y| 2^-24,
far less than half of that for every range up to millions of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undrift.error import DataError, ModelError, nearest

__all__ = ["Spec"]


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

    def __post_init__(self) -> None:
        def require(ok: bool, field: str, wanted: str) -> None:
            if not ok:
                given = repr(getattr(self, field))
                raise ValueError(f'field "{field}" must be {wanted}, but it is {given:.80}.')

        shape = self.shape
        require(
            isinstance(shape, tuple) and len(shape) > 0 and all(_is_int(n) and n > 0 for n in shape),
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

    @classmethod
    def bounded(cls, shape: Sequence[int], low: float, high: float, *, integer: bool, classes: Sequence[str] = ()) -> Self:
        """Values in [low, high], seen by the model in [-1, 1]."""
        return cls(tuple(shape), low, high, integer, (low + high) / 2, (high - low) / 2, tuple(classes))

    @classmethod
    def standardised(cls, x: NDArray[Any], classes: Sequence[str] = (), rows: NDArray[np.int64] | None = None) -> Self:
        """Unbounded values, seen by the model with mean 0 and standard deviation 1 over `x`.

        Each column of vectors has its own shift and scale; examples of two or more axes (series, grids, float
        images) share one of each, which keeps neighbouring values comparable. Where all values are equal the
        scale is 1.

        Args:
            x: (N, *shape) finite floats, N >= 1; read in blocks, so it may be memory-mapped.
            classes: Names of the classes.
            rows: Look at these rows of x only; None for all.
        """
        axes: Any = 0 if x.ndim == 2 else None
        step = max(1, 2**22 // max(1, math.prod(x.shape[1:])))
        chosen = np.arange(len(x)) if rows is None else rows

        def blocks() -> Iterator[NDArray[np.float64]]:
            return (x[chosen[i : i + step]].astype(np.float64) for i in range(0, len(chosen), step))

        low = np.min([block.min(axis=axes) for block in blocks()], axis=0)
        high = np.max([block.max(axis=axes) for block in blocks()], axis=0)
        count = len(chosen) * (1 if x.ndim == 2 else math.prod(x.shape[1:]))
        mean = sum(block.sum(axis=axes) for block in blocks()) / count
        square = sum(((block - mean) ** 2).sum(axis=axes) for block in blocks())
        # The standard deviation of a constant column would be a rounding error: test the values instead.
        scale = np.where(low == high, 1.0, np.sqrt(square / count))
        shift = np.where(low == high, low, mean)
        one = x.ndim > 2
        return cls(
            tuple(x.shape[1:]),
            None,
            None,
            False,
            float(shift) if one else tuple(shift.tolist()),
            float(scale) if one else tuple(scale.tolist()),
            tuple(classes),
        )

    @property
    def size(self) -> int:
        """Number of values in one example."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Type of values in data units: uint8 for integers within 0..255, int64 for others, else float32."""
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
        x = self.units(self.shift, wide) + self.units(self.scale, wide) * wide
        if self.integer and not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise ValueError(f"{bad:,} of {x.numel():,} values are NaN or infinite, so they have no integer.")
        if self.low is not None:
            x = x.clamp(self.low, self.high)
        return (x.round() if self.integer else x).to(self.dtype)

    def log_abs_det(self) -> float:
        """Nats to add to a log density in model space to get the one in data units: log |det dy/dx|.

        For integers one step apart this is the density of the data with uniform noise of width 1
        (dequantised), from which bits per dimension follow without another constant.
        """
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return -self.size / len(scales) * math.fsum(map(math.log, scales))

    def class_index(self, name: str | int) -> int:
        """The label of a class given by name or by number.

        A name wins over a number: where the classes are "1", "2", "3", the string "2" is label 1. A string of
        digits that is no name is read as a number.

        Raises:
            DataError: The data have no classes, or none of that name or number; known classes are named.
        """
        count = len(self.classes)
        if not count:
            raise DataError(f"class {name!r}: this data has no classes; ask without a class.")
        if isinstance(name, str):
            if name in self.classes:
                return self.classes.index(name)
            if not (name.isascii() and name.isdigit()):
                raise DataError(f'class "{name}" is unknown{nearest(name, self.classes)}')
        elif not isinstance(name, (int, np.integer)) or isinstance(name, bool):
            raise DataError(f"class {name!r} is neither a name nor a number{nearest(name, self.classes)}")
        if not 0 <= int(name) < count:
            raise DataError(f"class {name} is not in 0..{count - 1} — known: {', '.join(self.classes)}")
        return int(name)

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
                raise ModelError(f'data spec: field "{key}" is unknown{nearest(key, known)}')
        for key in known:
            if key not in plain:
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
        wide = x.to(_wide(x))
        return ((wide - self.units(self.shift, wide)) / self.units(self.scale, wide)).float()

    def units(self, value: float | tuple[float, ...], like: Tensor) -> Tensor:
        """`shift` or `scale` as a tensor that broadcasts against a sample: () or (shape[0], 1, ..., 1), like `like`."""
        units = torch.tensor(value, dtype=like.dtype, device=like.device)
        return units.reshape(-1, *[1] * (len(self.shape) - 1)) if units.ndim else units


_DAMAGED = "the model's file is damaged or was written by another version"


def _wide(x: Tensor) -> torch.dtype:
    """float64 wherever the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64
