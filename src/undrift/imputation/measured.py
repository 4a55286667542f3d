"""Known values as a measurement: filling in what is missing by the posterior's own gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undrift import condition, times as grids
from undrift.argument import LARGEST, real, whole
from undrift.denoiser import AnyDenoiser
from undrift.imputation import Known
from undrift.inverse.method import MMPS, DiffPIR
from undrift.inverse.operator import Operator, mask as seen
from undrift.inverse.particles import smc
from undrift.inverse.posterior import Posterior
from undrift.noise import Noise
from undrift.sampler import Ancestral, sample
from undrift.watching import portions

NOISE = 0.03  # standard deviation that the known values are taken to have, model space: less than data of unit spread can show
PARTICLES = 16  # for each draw
SOFT = 0.3  # the same for particles: a sharper one leaves all of the weight with one of so few


def measured(denoiser: AnyDenoiser, values: Tensor, mask: Tensor, noise: Noise) -> AnyDenoiser:
    """A `Method` of `undrift.impute`: the posterior by moment matching (`MMPS`), and the values themselves where they are known.

    Unlike replacement it pulls on the missing entries with what the known ones say, at every noise level (Rozet et al. 2024).

    Args:
        denoiser: The prior's.
        values, mask: `(B, *D)`; True where known.
        noise: Not needed.
    """
    if not bool(mask.any()):
        return denoiser
    operator = Operator(lambda x: torch.where(mask[: len(x)].to(x.device), x, 0.0), tuple(values.shape[1:]), name="known values")
    y = torch.where(mask, values, 0.0)
    return Known(Posterior(denoiser, operator, y, NOISE, MMPS()), values, mask)


def by_particles(
    denoiser: AnyDenoiser,
    values: Tensor,
    mask: Tensor,
    draws: int = 1,
    *,
    steps: int = 50,
    seed: int = 0,
    cond: Any = None,
    grid: grids.Grid = grids.straight,
    first: int = 0,
    particles: int = PARTICLES,
    noise_std: float = SOFT,
) -> Tensor:
    """Fill in by particles: many attempts side by side, of which those that explain the known values go on (`undrift.inverse.smc`).

    Replacement and RePaint decide early, at high noise, what the picture is of, and cannot take it back; among particles, attempts
    that turn out not to fit the known values die out. Each draw has particles of its own, so draws are independent.

    Args:
        denoiser: The prior's; it must know the shape of a sample.
        values, mask: `(B, *D)` model space, True where known; `mask` also `(*D)`.
        draws: How many for each.
        steps, seed, grid: See `undrift.sample`.
        cond: One row for each input, or None.
        first: Number of the first input.
        particles: For each draw; one step costs so many evaluations.
        noise_std: How far a known value may be missed, model space. Exact as it falls and `particles` grow.

    Returns:
        `(draws, B, *D)`, the values themselves where they are known.
    """
    draws, particles, seed = whole(draws, "draws", 1), whole(particles, "particles", 1), whole(seed, "seed", 0)
    first = whole(first, "first", 0, LARGEST // 2**21)
    if not real(noise_std, "noise_std") > 0:
        raise ValueError(f"`noise_std` must be positive, got {noise_std}.")
    mask = mask.expand(values.shape)
    filled = []
    for row in portions(range(len(values))):
        x, known = values[row], mask[row]
        number = (first + row) * 2**20  # draws of one input do not meet those of the next
        if known.all():
            filled.append(x.expand(draws, *x.shape))
            continue
        count = particles * draws if known.any() else draws
        given = condition.repeat(condition.rows(cond, slice(row, row + 1)), count)
        bound = denoiser if given is None else denoiser.given(given)
        if known.any():
            operator = seen(known)
            y = operator(x[None]).expand(draws, -1)
            found = smc(bound, operator, y, noise_std, DiffPIR(), particles, steps, seed, grid=grid, first=number)
            filled.append(found.draw(1, seed)[:, 0])
        else:
            shape = (draws, *x.shape)
            filled.append(sample(bound, shape, Ancestral(), steps, seed, grid=grid, batch_size=draws, first=number, like=x))
    return torch.where(mask, values, torch.stack(filled, 1))
