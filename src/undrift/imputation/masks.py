"""Masks by name: the holes of 003, sec. 5.6, and halves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from undrift.error import UndriftError, nearest
from undrift.noise import Noise

NAMES = ("left", "right", "top", "bottom", "middle-vertical", "middle-horizontal", "centre", "random:P")


def named_mask(name: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """A mask that is True where values are known; the name says where the hole is.

    Args:
        name: left, right, top, bottom: that half; middle-vertical, middle-horizontal: a strip of a third of the image, from top
            to bottom or from side to side; centre: the square of half the height and width; random:P: each pixel with
            probability P, in all channels at once.
        shape: Of one sample: `(C, H, W)`, or `(D,)`, for which left, right, middle-vertical and random:P make sense.
        seed: Names the pixels of random:P.

    Returns:
        `shape` bool.

    Raises:
        UndriftError: an unknown name, a probability outside (0, 1), a hole that needs an image.
    """
    height, width = (1, *shape)[-2:]
    hole = torch.zeros(height, width, dtype=torch.bool)
    kind, _, share = name.partition(":")
    places = {
        "left": (slice(None), slice(0, width // 2)),
        "right": (slice(None), slice(width - width // 2, width)),
        "top": (slice(0, height // 2), slice(None)),
        "bottom": (slice(height - height // 2, height), slice(None)),
        "middle-vertical": (slice(None), _third(width)),
        "middle-horizontal": (_third(height), slice(None)),
        "centre": (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)),
    }
    if kind == "random":
        hole = Noise([seed]).fold("mask").uniform((1, height, width))[0] < _probability(name, share)
    elif name not in places:
        raise UndriftError(f'mask "{name}" is neither a file nor a name{nearest(name, NAMES)}')
    elif len(shape) == 1 and name in ("top", "bottom", "middle-horizontal", "centre"):
        raise UndriftError(f'mask "{name}" needs images; for vectors: left, right, middle-vertical, random:P, or a file')
    else:
        hole[places[name]] = True
    return (~hole).reshape(-1) if len(shape) == 1 else (~hole).expand(tuple(shape)).clone()


def _third(size: int) -> slice:
    """A third of so many rows or columns, rounded, in the middle: 3 of 8, 9 of 28."""
    hole = max(1, round(size / 3))
    return slice((size - hole) // 2, (size - hole) // 2 + hole)


def _probability(name: str, share: str) -> float:
    try:
        p = float(share)
    except ValueError:
        p = -1.0
    if not 0 < p < 1:
        raise UndriftError(f'mask "{name}": write random:0.5, a probability between 0 and 1 of being missing')
    return p
