"""The floor of the denoising loss where no exact one is known: what a network of any size would reach, extrapolated over sizes.

Of runs of the same data and process, the losses at one range of noise levels are fitted by

    loss(size) = floor + excess (size / own size)^-a,     excess >= 0,   a from 0.1 to 2

by least squares (a power law with a floor, as of Hestness et al. 2017 and Henighan et al. 2020). The size is that of the training:
parameters times examples seen, so that smaller networks and shorter trainings count alike. All runs are asked about the same examples
with the same noise, so what these do to all losses cancels in the excess.

It is the floor *of these networks*, trained longer and made larger, on these data. What no such network can learn is below it.

The error bar is a jackknife over groups of examples and, of four runs or more, one over runs beside it: of three runs the curve goes
through all points, and how far they scatter about a power law cannot be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.diagnosis.measure import Number
from undrift.metrics.estimate import groups

LEAST = 3  # sizes that a floor, a factor and an exponent take
_EXPONENTS = torch.logspace(-1, math.log10(2), 1500, dtype=torch.float64)


@dataclass(frozen=True)
class Sized:
    """A denoiser and the size of its training: parameters times examples."""

    denoiser: AnyDenoiser
    size: float


@dataclass(frozen=True)
class Extrapolation:
    """What was found.

    Attributes:
        excess: Of each bin, nats.
        total: Their sum.
        exponents: Of each bin.
        endless: Whether a bin's loss falls so slowly that no floor is in sight: its excess may be more.
        sizes: Those that were fitted, the run's own first.
    """

    excess: tuple[Number, ...]
    total: Number
    exponents: tuple[float, ...]
    endless: tuple[bool, ...]
    sizes: tuple[float, ...]


def extrapolate(losses: Tensor, sizes: Sequence[float]) -> Extrapolation:
    """The excess loss of the first run over what runs of any size would reach.

    Args:
        losses: `(K, bins, n)` nats of K runs on the same n examples with the same noise, n of at least 20.
        sizes: `(K,)` positive and different, three or more.

    Raises:
        ValueError: fewer than three sizes, two equal ones, or one that is not positive.
    """
    size = torch.tensor(sizes, dtype=torch.float64)
    if not LEAST <= len(sizes) == len(set(sizes)) or not bool((size > 0).all()):
        raise ValueError(f"a floor is extrapolated over {LEAST} positive sizes or more, all different; got {list(sizes)}.")
    group = groups(losses.shape[-1])
    count = int(group[-1]) + 1
    means = torch.stack([losses.double()[..., group != g].mean(-1) for g in range(-1, count)])  # (1 + G, K, bins)
    found, exponents = _fit(means, size)
    value, errors = found[0], [_spread(found[1:])]
    totals = [_spread(found[1:].sum(1))]
    if len(size) > LEAST:
        rest = [torch.arange(len(size)) != k for k in range(len(size))]
        less = torch.stack([_fit(means[:1, kept], size[kept], float(size[0]))[0][0] for kept in rest])
        errors.append(_spread(less))
        totals.append(_spread(less.sum(1)))
    error = torch.stack(errors).square().sum(0).sqrt()
    return Extrapolation(
        tuple(Number(v, e) for v, e in zip(value.tolist(), error.tolist(), strict=True)),
        Number(float(value.sum()), math.hypot(*map(float, totals))),
        tuple(exponents[0].tolist()),
        tuple(bool(v) for v in (exponents[0] == _EXPONENTS[0]) & (value > 0)),
        tuple(float(s) for s in sizes),
    )


def _fit(means: Tensor, sizes: Tensor, own: float | None = None) -> tuple[Tensor, Tensor]:
    """Excess and exponent `(..., bins)` of mean losses `(..., K, bins)`: for each exponent a line, and the best of the lines."""
    along = (sizes / (float(sizes[0]) if own is None else own)) ** -_EXPONENTS[:, None]  # (A, K): 1 at the run's own size
    along = along - along.mean(1, keepdim=True)
    gap = means - means.mean(-2, keepdim=True)
    product = torch.einsum("ak,...kb->...ba", along, gap)
    width = along.square().sum(1)
    slope = (product / width).clamp(min=0)
    left = slope * (slope * width - 2 * product)  # of the squares, less what no line would leave
    best = left.argmin(-1, keepdim=True)
    return slope.gather(-1, best)[..., 0], _EXPONENTS[best[..., 0]]


def _spread(replicates: Tensor) -> Tensor:
    """The jackknife's standard error of `(G, ...)` replicates."""
    count = len(replicates)
    return ((count - 1) / count * (replicates - replicates.mean(0)).square().sum(0)).sqrt()
