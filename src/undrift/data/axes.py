"""How the axes of an array are read: one guess for files, PyTorch datasets and everything else, which says what it guessed.

Axes are named by letters, in the order in which they stand in the array:

    N examples    C channels or columns    L steps of a sequence (T is the same)    D, H, W depth, height, width

`NHWC` are pictures with the channels last, `NLC` sequences of L steps with C channels, `NDHW` volumes without an axis for channels.
What follows has the channels first: (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undrift.error import DataError, short

__all__ = ["Reading", "fitted", "read_axes", "reading_of"]

_SPACES = {"": "vectors", "L": "sequences", "HW": "pictures", "DHW": "volumes"}


class Reading(NamedTuple):
    """What the axes are, and whether that was a guess."""

    axes: str
    guessed: bool = False

    def laid_out(self, x: NDArray[Any]) -> NDArray[Any]:
        """The array with the channels first, a view."""
        if not self.axes:
            return x
        space = _space(self.axes)
        places = [self.axes.index(letter) for letter in "NC" + space if letter in self.axes]
        moved = x.transpose(places)
        return moved if "C" in self.axes else moved[:, None]

    def said(self, shape: tuple[int, ...]) -> str:
        """In words, of an array of this shape."""
        size = dict(zip(self.axes, shape, strict=True))
        space = _space(self.axes)
        channels = size.get("C", 1)
        of = {
            "": f"{channels:,} numbers",
            "L": f"{size.get('L', 0):,} steps",
            "HW": f"{size.get('H', 0)} x {size.get('W', 0)} pixels",
            "DHW": f"{size.get('D', 0)} x {size.get('H', 0)} x {size.get('W', 0)} points",
        }[space]
        more = f" with {channels:,} channel{'s' * (channels != 1)}" if space else ""
        return f"{size['N']:,} {_SPACES[space]} of {of}{more} (axes {self.axes})"


def _space(axes: str) -> str:
    return "".join(letter for letter in "DHWL" if letter in axes)


def read_axes(text: str, shape: tuple[int, ...], where: str) -> Reading:
    """The axes as they were named.

    Args:
        text: Such as "NHWC".
        shape: Of the array, examples and all.
        where: For messages.

    Raises:
        DataError: other letters, one twice, no N, or another number of axes than the array has.
    """
    axes = text.upper().replace("T", "L") if isinstance(text, str) else ""
    if "N" not in axes or len({*axes}) < len(axes) or _space(axes) not in _SPACES or not {*axes} <= {*"NCLDHW"}:
        raise DataError(
            f"{where}: data.axes={short(text)}: name each axis once, N (examples), C (channels), and L (steps), HW (pictures) or DHW "
            "(volumes), in their order: NC, NLC, NHW, NCHW, NHWC, NDHW, ..."
        )
    if len(axes) != len(shape):
        raise DataError(f"{where}: data.axes={axes} names {len(axes)} axes, but the array has {len(shape)}, {shape}")
    if axes == "N":
        raise DataError(f"{where}: data.axes=N: an example needs an axis of its own; reshape the array to (N, 1)")
    return Reading(axes)


def reading_of(shape: tuple[int, ...], kind: np.dtype, where: str) -> Reading:
    """The axes as they most likely are.

    An axis is one of channels if it is short beside the others, or has length 1, 3 or 4 at either end; bytes of three axes are grey
    pictures. Where two readings are as likely, none is chosen.

    Args:
        shape: Of the array, examples and all; at least two axes.
        kind: Of its values.
        where: For messages.

    Raises:
        DataError: two readings are as likely, or none is.
    """
    n = len(shape)
    if n == 2:
        return Reading("NC")
    if n > 5:
        return Reading("")
    likely = {3: _three, 4: _four, 5: _five}[n](shape[1:], kind == np.uint8)
    if len(likely) == 1:
        return Reading(likely[0], guessed=True)
    known = {3: ("NHW", "NCL", "NLC"), 4: ("NCHW", "NHWC", "NDHW"), 5: ("NCDHW", "NDHWC", "NDCHW")}[n]
    choices = [f"data.axes={axes} ({Reading(axes).said(shape).partition(' (axes')[0]})" for axes in likely or known]
    raise DataError(f"{where}: an array of shape {shape} can be read in several ways; say which: {', '.join(choices)}")


def fitted(x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """An array as examples of a shape that is known, which settles the axes: `(N, *shape)`, a view.

    One example may come without the axis that counts them, one channel without its axis, and the channels last.

    Returns:
        None if the array is of other examples, or of none.
    """
    forms = [(shape, "first")]
    if len(shape) > 1:
        forms.append(((*shape[1:], shape[0]), "last"))
    if len(shape) > 1 and shape[0] == 1:
        forms.append((shape[1:], "none"))
    for form, channels in forms:
        many = x[None] if x.shape == form else x
        if many.shape[1:] == form and len(many):
            return many if channels == "first" else np.moveaxis(many, -1, 1) if channels == "last" else many[:, None]
    return None


def _three(sides: tuple[int, ...], bytes_: bool) -> tuple[str, ...]:
    first, last = sides
    small, large = min(sides), max(sides)
    if bytes_:  # grey pictures, unless they would be no more than a line or two
        return ("NHW",) if large <= 8 * small else ("NHW", "NCL", "NLC")
    if small == 1 or 3 * small <= large or (small <= 4 and 2 * small <= large):
        return ("NCL",) if first < last else ("NLC",) if last < first else ("NCL", "NLC")
    return ("NHW", "NCL", "NLC")


def _four(sides: tuple[int, ...], bytes_: bool) -> tuple[str, ...]:
    first, last = _channels(sides[0], sides[1:]), _channels(sides[-1], sides[:-1])
    if (first and last) or (sides[0] in (1, 3, 4) and sides[-1] in (1, 3, 4)):
        return ("NCHW", "NHWC")
    if first:
        return ("NCHW",)
    if last:
        return ("NHWC",)
    if min(sides) < 8:
        return ()
    many = [axes for axes, c, rest in (("NCHW", sides[0], sides[1:]), ("NHWC", sides[-1], sides[:-1])) if 2 * c <= min(rest)]
    return ("NDHW", *many)


def _five(sides: tuple[int, ...], bytes_: bool) -> tuple[str, ...]:
    found = [axes for axes, c, rest in (("NCDHW", sides[0], sides[1:]), ("NDHWC", sides[-1], sides[:-1])) if _channels(c, rest)]
    return tuple(found)


def _channels(count: int, others: tuple[int, ...]) -> bool:
    """Whether an axis of this length beside these is one of channels."""
    return (count <= 4 and count < min(others)) or count == 1 or (count <= 16 and 2 * count <= min(others))
