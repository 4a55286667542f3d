"""Checks of what a user hands in from Python: types, shapes, finite numbers. Once, where it comes in.

A public function asks here for what it wants, a whole number, a real number, a tensor of real numbers, an object of a class, and
either gets it or raises one sentence that names the argument, says what it got and what to give. What torch would say of the same
mistake, from somewhere inside, names neither.

Wrong numbers are a `ValueError`, as an impossible value is; an object of the wrong class is a `TypeError`.
"""

from __future__ import annotations

import errno
import math
import operator
import os
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from undrift.error import OutputError, short

LARGEST = 2**63 - 1  # of the integers that tensors and addresses of noise hold
MOST_STEPS = 1_000_000  # of a grid
_KINDS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_REALS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # torch stores these and computes with none of them

T = TypeVar("T")


def whole(value: Any, name: str, least: int | None = None, most: int = LARGEST) -> int:
    """A whole number: Python's, NumPy's, or a `()` tensor of integers.

    Args:
        value: What was handed in.
        name: Of the argument, for the message.
        least, most: Bounds that are allowed themselves.

    Raises:
        ValueError: it is none, a bool too, or lies outside the bounds.
    """
    found = None
    if isinstance(value, (Integral, Tensor, np.ndarray)) and not isinstance(value, bool) and not getattr(value, "ndim", 0):
        try:
            found = operator.index(value)
        except (TypeError, RuntimeError):  # a tensor of floats, or without values
            found = None
    if found is None or found > most or (least is not None and found < least):
        bound = "" if least is None else f" of at least {least:,}"
        upper = f" and at most {most:,}" if most < LARGEST or (found is not None and found > most) else ""
        raise ValueError(f"`{name}` must be a whole number{bound}{upper}, got {said(value)}.")
    return found


def real(value: Any, name: str, what: str = "a number", finite: bool = True) -> float:
    """A real number: Python's, NumPy's, or a `()` tensor. Bounds are the caller's, and NaN falls outside any if not found here.

    Args:
        value: What was handed in.
        name: Of the argument, for the message.
        what: What is wanted, for the message.
        finite: Whether to refuse NaN and infinities here.

    Raises:
        ValueError: it is none, or beyond the largest float64; with `finite` NaN or infinite.
    """
    found = None
    if isinstance(value, Real):
        try:
            found = float(value)
        except OverflowError:
            found = None
    elif isinstance(value, (Tensor, np.ndarray)) and not value.ndim and _is_real(value):
        found = float(value.detach() if isinstance(value, Tensor) else value)
    if found is None or (finite and not math.isfinite(found)):
        raise ValueError(f"`{name}` must be {what}{', and finite' * finite}, got {said(value)}.")
    return found


def tensor(value: Any, name: str, dtype: torch.dtype | None = None) -> Tensor:
    """Real numbers as a tensor of a type that torch computes with: a tensor as it is, an array or a list of numbers.

    Arrays may have any strides, byte order and precision; an array of objects counts as the list of them. Unsigned integers that
    torch only stores become int64.

    Args:
        value: What was handed in.
        name: Of the argument, for the message.
        dtype: Wanted. Default: the numbers' own; of Python's floats torch's default.

    Raises:
        ValueError: they are no numbers, complex ones, whole ones above 2^63 - 1, rows of different lengths; a tensor that is
            sparse, has no values (meta), or is of eight bits.
        TypeError: a set, which has no order.
    """
    if isinstance(value, (set, frozenset, dict)):
        raise TypeError(
            f"`{name}` is a {type(value).__name__}, which has no order or no rows: give a tensor, an array or a list."
        )
    if not isinstance(value, Tensor):
        value = _converted(value, name, dtype if dtype is not None and dtype.is_floating_point else None)
    if value.dtype in (*_KINDS, *_REALS) and value.layout == torch.strided and not value.is_meta:
        return value if dtype is None else value.to(dtype)
    if value.is_complex():
        raise ValueError(
            f"`{name}` holds complex numbers ({value.dtype}); give real ones, such as its `.real` and `.imag` apart."
        )
    if value.is_meta:
        raise ValueError(f"`{name}` is a tensor without values, on the device meta; give one that has them.")
    if value.layout != torch.strided:
        raise ValueError(f"`{name}` is a sparse tensor; give a dense one, as `.to_dense()` makes it.")
    if value.dtype not in _WIDE:
        raise ValueError(f"`{name}` is of {value.dtype}, with which torch does not compute; convert it, as with `.float()`.")
    found = value.to(torch.int64)
    if value.dtype == torch.uint64 and bool((found < 0).any()):  # they wrapped
        raise ValueError(f"`{name}` holds whole numbers above 2^63 - 1; give smaller ones, or floats.")
    return found if dtype is None else found.to(dtype)


def batch(x: Any, name: str = "x") -> Tensor:
    """A batch `(B, *D)` of floats that are on their way through a network: only its kind is looked at, so nothing waits for a GPU.

    Raises:
        TypeError: no tensor.
        ValueError: a tensor of anything but real floats, or without a batch axis.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"`{name}` is {said(x)}: give a tensor of floats, (B, *D).")
    if x.dtype not in _REALS or x.layout != torch.strided or not x.ndim:
        raise ValueError(f"`{name}` must be a tensor of real floats, (B, *D), got {said(x)}.")
    return x


def floats(value: Any, name: str) -> Tensor:
    """`tensor`, of floats: whole numbers become float32."""
    found = tensor(value, name)
    return found if found.is_floating_point() else found.to(torch.float32)


def wholes(value: Any, name: str) -> Tensor:
    """`tensor`, of whole numbers. Raises ValueError for floats too."""
    found = tensor(value, name)
    if found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(f"`{name}` must hold whole numbers, got {said(value)}.")
    return found.to(torch.int64)


def rows64(value: Any, name: str) -> Tensor:
    """`tensor`, in float64 on the CPU and apart from any graph, as measures of samples want it; of lists with all their digits."""
    found = tensor(value, name) if isinstance(value, Tensor) else tensor(value, name, torch.float64)
    return found.detach().cpu().double()


def fits(value: Tensor, dtype: torch.dtype, name: str) -> None:
    """Raise ValueError if numbers that are finite are too large for the type that the computation uses."""
    if not value.is_floating_point() or torch.finfo(value.dtype).max <= torch.finfo(dtype).max:
        return
    lost = torch.isinf(value.to(dtype)) & torch.isfinite(value)
    if bool(lost.any()):
        place = tuple(lost.nonzero()[0])
        raise ValueError(
            f"`{name}` has {int(lost.sum()):,} of {value.numel():,} values that are too large for {str(dtype)[6:]}, the type "
            f"that the computation uses; the first is {name}[{', '.join(str(int(i)) for i in place)}] = {float(value[place]):.6g}."
        )


def instance(value: Any, name: str, kind: type[T] | tuple[type[T], ...], cure: str) -> T:
    """An object of a class.

    Raises:
        TypeError: it is none; of a class in place of its object, that the brackets are missing.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, type) and issubclass(value, kind):
        raise TypeError(f"`{name}` is an object: write {value.__name__}(), with the brackets.")
    raise TypeError(f"`{name}` is {said(value)}: {cure}.")


def path(value: Any, name: str, cure: str) -> Path:
    """A place that a user names. Raises TypeError for something else, OutputError for a name that no file can have."""
    if not isinstance(value, (str, PathLike)):
        raise TypeError(f"`{name}` is {said(value)}: {cure}.")
    place = Path(value)
    if "\0" in str(place):
        raise OutputError(f"`{name}` has a NUL character in it, which no name of a file can have")
    try:
        os.lstat(place)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                f"{short(place)} is {len(str(place))} characters long, and no file can have so long a name"
            ) from None
    return place


def function(value: Any, name: str, cure: str) -> Callable[..., Any]:
    """Something that can be called, and no class. Raises TypeError."""
    if not callable(value):
        raise TypeError(f"`{name}` is {said(value)}, which cannot be called: {cure}.")
    return value


def choice(value: Any, name: str, known: Iterable[str]) -> str:
    """One of some names. Raises ValueError."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"`{name}` is one of {', '.join(names)}, got {said(value)}.")
    return value


def said(value: Any) -> str:
    """A value for a message; of tensors and arrays the type and the shape alone, unless they are one number."""
    if isinstance(value, (Tensor, np.ndarray)):
        kind = "a tensor" if isinstance(value, Tensor) else "an array"
        kind = "a sparse tensor" if isinstance(value, Tensor) and value.layout != torch.strided else kind
        return f"{kind} of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
    return repr(short(value)) if isinstance(value, str) else short(value)


def several(value: Any) -> bool:
    """Whether something stands for several numbers: a list, a tuple, or a tensor or an array with at least one axis."""
    return isinstance(value, (list, tuple)) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0)


def _is_real(value: Tensor | np.ndarray) -> bool:
    if isinstance(value, Tensor):
        return not value.is_complex() and not value.is_meta and value.layout == torch.strided
    return value.dtype.kind in "biuf"


def unmasked(value: Any, name: str) -> None:
    """Raise ValueError for a masked array of numpy that hides values: nobody would notice that they are taken as they are."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"`{name}` is a masked array, {int(np.ma.getmaskarray(value).sum()):,} of whose values are hidden; fill them (`.filled(...)`) "
            "or leave those examples out."
        )


def _converted(value: Any, name: str, dtype: torch.dtype | None) -> Tensor:
    """What is no tensor, as one."""
    unmasked(value, name)
    if isinstance(value, (np.ndarray, np.generic)):
        return _of_array(np.asarray(value), name)
    try:
        return torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError, IndexError):
        pass
    if not isinstance(value, (list, tuple)) and not hasattr(value, "__array__"):
        raise ValueError(f"`{name}` is {said(value)}, and not a tensor, an array or a list of numbers; convert it.")
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError, OverflowError):
        raise ValueError(f"`{name}` cannot be made an array of numbers; convert it.") from None
    except ValueError:
        raise ValueError(f"`{name}` has rows of different lengths; give rows that are alike.") from None
    return _of_array(array, name)


def _of_array(array: np.ndarray, name: str) -> Tensor:
    if array.dtype.kind == "O":
        try:
            array = np.array(array.tolist())
        except ValueError:
            raise ValueError(f"`{name}` has rows of different lengths; give rows that are alike.") from None
        if array.dtype.kind == "O":
            raise ValueError(f"`{name}` holds objects that are no numbers, or whole numbers above 2^63 - 1; convert it.")
    if array.dtype.kind == "c":
        raise ValueError(
            f"`{name}` holds complex numbers ({array.dtype}); give real ones, such as its `.real` and `.imag` apart."
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` holds values of {array.dtype} and no numbers; convert it.")
    kind = array.dtype.newbyteorder("=")
    if kind.kind == "u" and kind.itemsize > 1:
        if kind.itemsize == 8 and array.size and int(array.max()) > LARGEST:
            raise ValueError(
                f"`{name}` holds whole numbers above 2^63 - 1, such as {int(array.max())}; give smaller ones, or floats."
            )
        kind = np.dtype(np.int64)
    elif kind.kind == "f" and kind.itemsize > 8:
        kind = np.dtype(np.float64)
    plain = array.dtype == kind and array.dtype.isnative and all(s >= 0 for s in array.strides) and array.flags.writeable
    return torch.from_numpy(array if plain else np.array(array, dtype=kind, order="C"))
