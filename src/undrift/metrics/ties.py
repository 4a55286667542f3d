"""Ties: what differs by less than a millionth of the data's spread is equal, and equals are put in order by chance.

Whole numbers, copies and pictures of few colours make ties, and metrics of neighbours and ranks are defined for laws without
them. Had each value a little noise of its own, all would be as defined, and equal laws would stay equal; no order but that of
equals would change. So of two equals each is the larger one half of the time. Where that half can be counted (ranks, shares), it
is; where it cannot (balls that reach to a neighbour), the noise is added, the same at every call.

Rounding makes ties of copies look like differences: the distance of a row to itself comes out as 1e-8 or so of its length, by
another rounding in each batch. Hence the millionth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.data.stream import stream

TIE = 1e-6  # of the spread of the data


def spread(rows: Tensor) -> float:
    """Root mean square of the columns' standard deviations, of `(n, d)` rows in float64; 1 where nothing varies."""
    return float((rows - rows.mean(0)).square().mean().sqrt()) or 1.0


def shaken(rows: Tensor, unit: float, what: str) -> Tensor:
    """Rows `(n, d)` with noise of a millionth of `unit` in every entry, addressed by `what` and the number of the row."""
    noise = stream(0, "ties", what).standard_normal(tuple(rows.shape))
    return rows + TIE * unit * torch.from_numpy(noise)


def levelled(values: Tensor, unit: float) -> Tensor:
    """Values `(n,)` in float64, rounded to millionths of `unit`, so that equals are equal in every digit."""
    return (values.double() / (TIE * unit)).round() * (TIE * unit)
