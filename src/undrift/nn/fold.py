"""Squares of pixels folded into channels and back, at any rank."""

from __future__ import annotations

import torch
from torch import Tensor


def fold(x: Tensor, patch: int) -> Tensor:
    """(B, C, *sides) to (B, C patch^rank, *sides / patch), as `pixel_unshuffle` does for pictures."""
    batch, channels, *sides = x.shape
    rank = len(sides)
    split = x.reshape(batch, channels, *(n for side in sides for n in (side // patch, patch)))
    order = [0, 1, *range(3, 2 * rank + 2, 2), *range(2, 2 * rank + 2, 2)]
    return split.permute(order).reshape(batch, channels * patch**rank, *(side // patch for side in sides))


def unfold(x: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    batch, channels, *sides = x.shape
    rank = len(sides)
    split = x.reshape(batch, channels // patch**rank, *[patch] * rank, *sides)
    order = [0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i))]
    return split.permute(order).reshape(batch, channels // patch**rank, *(side * patch for side in sides))


def double(x: Tensor) -> Tensor:
    """(B, C, *sides) to (B, C, *2 sides), every entry twice along each side.

    As `interpolate(x, scale_factor=2)`, whose gradient torch 2.13 compiles to zeros in bfloat16 on a CPU.
    """
    x = x.movedim(1, -1)  # as it lies in memory
    for axis in range(1, x.ndim - 1):
        x = torch.stack((x, x), axis + 1).flatten(axis, axis + 1)
    return x.movedim(-1, 1)


def cut(x: Tensor, sides: tuple[int, ...]) -> Tensor:
    """The first entries of each of the last axes, as many as `sides` says."""
    for axis, side in enumerate(sides, x.ndim - len(sides)):
        x = x.narrow(axis, 0, side)
    return x
