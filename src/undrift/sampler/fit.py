"""A time grid fitted to a model: where should few steps stop?

The flow is nearly straight in `u = sigma / (alpha + sigma)`, so the grids tried are even in a warped u,

    u_k = 1 - (1 - (1 - k/n)^a)^b,        k = 0 .. n-1        (`times.warped`);

a decides how dense they are at low noise, b at high noise, and a = b = 1 is `straight`. The two are chosen to minimise what a grid
is for, the measured error of the sampler at the end: the distance to where the flow itself takes the same noise. Levels moved one
by one cost four times as much and gained nothing at 8 and 10 steps, and a grid of least summed local errors (Sabour et al. 2024,
"Align your steps", bound a KL divergence by such a sum) was worse at 5 and 8 steps than `straight`: bench/fit_grid.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from undrift import times as grids
from undrift.argument import batch, instance, said, whole
from undrift.denoiser import AnyDenoiser, check_denoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State
from undrift.sampler.multistep import VelocityAB
from undrift.sampler.ode import RungeKutta


@torch.no_grad()
def fit_grid(
    denoiser: AnyDenoiser,
    shape: Sequence[int] | Tensor,
    noise: Noise,
    *,
    sampler: Sampler | None = None,
    steps: Sequence[int] = (5, 8, 10, 15, 20),
    rounds: int = 3,
    cond: Any = None,
) -> grids.Fitted:
    """Grids of least error at the end.

    Args:
        denoiser: Any denoiser, guided as it will be used.
        shape: `(B, *D)`: how many samples to measure on (32 are enough), and their shape; a tensor gives dtype and device.
        noise: One address per sample.
        sampler: The sampler to fit for, a deterministic one. Default: `VelocityAB(corrector=True)`.
        steps: Numbers of steps to fit. Cost: some 15 runs for each, and 100 evaluations for the flow itself.
        rounds: How often the trial factor on a and b, first 1.5, is halved in the logarithm.
        cond: Bound to the denoiser.

    Raises:
        ValueError: fewer than two steps, a stochastic sampler.
    """
    check_denoiser(denoiser)
    sampler = VelocityAB(corrector=True) if sampler is None else instance(sampler, "sampler", Sampler, "give a sampler")
    instance(noise, "noise", Noise, "give a Noise, one address per sample")
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise TypeError(f"`steps` is {said(steps)}: give the numbers of steps to fit, such as (5, 8).")
    steps = [whole(n, "steps") for n in steps]
    whole(rounds, "rounds", 0)
    if isinstance(shape, Tensor):
        batch(shape, "shape")
    else:
        if not isinstance(shape, Sequence) or isinstance(shape, str):
            raise TypeError(f"`shape` is {said(shape)}: give (B, *D), or a tensor of that shape.")
        shape = [whole(size, "shape", 1) for size in shape]
    if sampler.stochastic or min(steps, default=0) < 2:
        raise ValueError("a grid is fitted for a deterministic sampler and at least 2 steps.")
    bound = denoiser if cond is None else denoiser.given(cond)
    x = bound.process.prior(shape, noise)
    process = grids.in_units(bound.process, bound.unit)

    def run(sampler: Sampler, times: Tensor) -> Tensor:
        *_, last = sampler(bound, State(x, times[0]), times, noise)
        return last.x

    end = run(RungeKutta(), grids.straight(process, 25))
    rows = []
    for n in steps:

        def error(power: tuple[float, float], n: int = n) -> Tensor:
            """(B,) root mean square distance to the flow's own end."""
            times = grids.warped(process, n, *power)
            return (run(sampler, times) - end).flatten(1).square().mean(1, dtype=torch.float64).sqrt()

        best = (1.0, 1.0)
        least = error(best)
        for factor in (1.5 ** (0.5**k) for k in range(rounds)):
            for a, b in ((factor, 1), (1 / factor, 1), (1, factor), (1, 1 / factor)):
                trial = (best[0] * a, best[1] * b)
                gain = least - error(trial)
                if gain.mean() > 2 * gain.std() / len(gain) ** 0.5:  # for the samples at large, not for these alone
                    best, least = trial, least - gain
        ratios = torch.exp(process.log_snr(grids.warped(process, n, *best)[:-1]) / -2)
        ratios[0] = ratios[0].clamp(max=max(1000.0, 2 * float(ratios[1])))  # stands for t_max, however noisy that is
        rows.append(tuple(ratios.tolist()))
    return grids.Fitted(tuple(rows))
