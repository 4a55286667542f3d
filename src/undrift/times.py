"""Time grids: where a sampler stops on its way from noise to data.

A grid is `(n + 1,)` float64 times from t_max down to t_min, and costs a one-evaluation sampler n evaluations: the last
step, from the last time at which there is still noise to `t_min`, is the denoised mean (see `sampler`). Grids that are
even in the noise level rather than in t stop at noise levels between `sigma_low` and `sigma_high` (ratios sigma/alpha) where the
process reaches further. The upper end is that of Karras et al. 2022; the lower one, 0.02, is ten times theirs: the last step
removes that noise anyway, and with few steps the evaluations between the two ends are better spent elsewhere. All levels are
those of data of about unit spread; for others, samplers lay a grid on the process in units of theirs (`in_units`), so that data
and noise scaled alike are sampled at the same places. Only what is even in t itself (`uniform`) does not look at levels. Every
grid but `leading` starts at t_max itself, also where alpha is zero there ("zero terminal SNR",
Lin et al. 2023), and samplers take their first step from there exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from undrift.argument import MOST_STEPS, instance, real, whole
from undrift.process import DDPM, Process

Grid = Callable[[Process, int], Tensor]
_DDPM = DDPM()


def _steps(n: int) -> int:
    return whole(n, "steps", 1, MOST_STEPS)


def uniform(process: Process, n: int) -> Tensor:
    """Even in t; on a chain, on its levels as near as that gets (`trailing`).

    Raises:
        ValueError: `n` is below 1.
    """
    instance(process, "process", Process, "give a process, such as undrift.VP()")
    if process.levels is not None:
        return trailing(process, n)
    return torch.linspace(process.t_max, process.t_min, _steps(n) + 1, dtype=torch.float64)


def trailing(process: Process, n: int) -> Tensor:
    """DDPM's levels N, N - N/n, N - 2N/n, ... rounded: the noisiest level is always kept (Lin et al. 2023, table 2).

    This and the next two are of a chain; on a continuous process, the noise levels of DDPM's own (linear, N = 1,000)
    that it reaches.

    Raises:
        ValueError: `n` is below 1 or above the number of levels.
    """
    count = _levels(process, n)
    return _on_chain(process, (count - torch.arange(n, dtype=torch.float64) * count / n).round())


def leading(process: Process, n: int) -> Tensor:
    """DDPM's levels 1, 1 + N//n, 1 + 2 N//n, ...: the noisiest is left out, so sampling starts where there is still signal.

    The flaw that Lin et al. (2023, sec. 3.3) describe, kept for comparison with models that were sampled so.
    """
    count = _levels(process, n)
    return _on_chain(process, torch.arange(n - 1, -1, -1) * (count // n) + 1)


def linspace(process: Process, n: int) -> Tensor:
    """DDPM's levels even from N to 1, both kept, rounded (Lin et al. 2023, table 2)."""
    count = _levels(process, n)
    return _on_chain(process, torch.linspace(count, 1, n, dtype=torch.float64).round())


def cosine(process: Process, n: int) -> Tensor:
    """Even in the angle arctan(sigma/alpha), nearly t under `Cosine` (Nichol & Dhariwal 2021, sec. 3.2)."""
    alpha, sigma = _ends(process)
    first, last = torch.atan2(sigma, alpha).tolist()
    angles = torch.linspace(first, last, _steps(n) + 1, dtype=torch.float64)
    return at_levels(process, angles[:-1].tan())


def straight(process: Process, n: int) -> Tensor:
    """Even in sigma / (alpha + sigma), in which the flow is nearly straight (`undrift.sampler.ode`); t under `Rectified`."""
    return warped(process, n, 1.0, 1.0)


def warped(process: Process, n: int, a: float, b: float) -> Tensor:
    """As `straight`, with u replaced by `1 - (1 - u^a)^b`: larger a is denser at low noise, larger b at high noise."""
    real(a, "a")
    real(b, "b")
    if not (0 < a < math.inf and 0 < b < math.inf):
        raise ValueError(f"`warped` needs positive a and b, got {a} and {b}.")
    alpha, sigma = _ends(process)
    first, last = (sigma / (alpha + sigma)).tolist()
    share = 1 - (1 - torch.arange(_steps(n), 0, -1, dtype=torch.float64).div(n) ** a) ** b
    u = last + (first - last) * share
    return at_levels(process, u / (1 - u))


def log_snr(process: Process, n: int, sigma_low: float = 0.02, sigma_high: float = 80.0) -> Tensor:
    """Even in log-SNR (Lu et al. 2022, sec. 3.3)."""
    return _by_level(process, n, sigma_low, sigma_high, math.log, torch.exp)


def karras(process: Process, n: int, rho: float = 7.0, sigma_low: float = 0.02, sigma_high: float = 80.0) -> Tensor:
    """Even in (sigma/alpha)^(1/rho): denser at low noise than `uniform`, at high noise than `log_snr` (Karras 2022, eq. 5)."""
    rho = real(rho, "rho", finite=False)
    if not 0 < rho < math.inf:
        raise ValueError(f"`karras` needs a positive rho, got {rho}.")
    return _by_level(process, n, sigma_low, sigma_high, lambda s: s ** (1 / rho), lambda u: u**rho)


@dataclass(frozen=True)
class Fitted:
    """A grid measured on a model (`undrift.sampler.fit_grid`): noise levels sigma/alpha for some numbers of steps.

    Other numbers are interpolated from the nearest one, linearly in sigma / (alpha + sigma) between its levels and clean data.

    Args:
        levels: For each length n, n decreasing noise levels; the first stands for t_max.

    Raises:
        ValueError: an empty table, levels that do not decrease or are not positive.
    """

    levels: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.levels or any(
            len(row) < 2 or not all(0 < r < math.inf for r in row) or any(a <= b for a, b in pairwise(row)) for row in self.levels
        ):
            raise ValueError("a fitted grid is a table of rows of at least two decreasing positive noise levels.")

    def __call__(self, process: Process, n: int) -> Tensor:
        if _steps(n) == 1:
            return at_levels(process, torch.tensor([1.0], dtype=torch.float64))
        row = torch.tensor([*min(self.levels, key=lambda r: abs(len(r) - n)), 0.0], dtype=torch.float64)
        u = row / (1 + row)
        place = torch.linspace(0, len(row) - 1, n + 1, dtype=torch.float64)[:-1]
        i = place.long().clamp(max=len(row) - 2)
        u = torch.lerp(u[i], u[i + 1], place - i)
        return at_levels(process, u / (1 - u))


@dataclass(frozen=True)
class _InUnits(Process):
    """A process seen by data in another unit: `x_t = (alpha unit) (x_0 / unit) + sigma eps`."""

    process: Process = field(default_factory=DDPM)
    unit: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return self.process.alpha(t) * self.unit

    def sigma(self, t: Tensor) -> Tensor:
        return self.process.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.process.time(log_snr - 2 * math.log(self.unit))

    @property
    def levels(self) -> Tensor | None:
        return self.process.levels


def in_units(process: Process, unit: float) -> Process:
    """The process as data measured in `unit` see it, on which a grid is laid (`AnyDenoiser.unit`); itself for 1."""
    return process if unit == 1 else _InUnits(process, unit, t_min=process.t_min, t_max=process.t_max)


def at_levels(process: Process, ratios: Tensor) -> Tensor:
    """The times at which sigma/alpha has these decreasing values, the first moved to t_max, and t_min behind them.

    Levels that the process does not reach are left out.
    """
    times = process.time(-2 * ratios.log())
    times[0] = process.t_max
    margin = 1e-9 * (process.t_max - process.t_min)
    inner = times[1:]
    inner = inner[(inner > process.t_min + margin) & (inner < process.t_max - margin)]
    return torch.cat([times[:1], inner, times.new_tensor([process.t_min])])


def _ends(process: Process) -> tuple[Tensor, Tensor]:
    instance(process, "process", Process, "give a process, such as undrift.VP()")
    return process(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))


def _by_level(
    process: Process, n: int, low: float, high: float, forward: Callable[[float], float], back: Callable[[Tensor], Tensor]
) -> Tensor:
    low, high = real(low, "sigma_low"), real(high, "sigma_high")
    if not 0 < low < high:
        raise ValueError(f"a grid needs 0 < sigma_low < sigma_high, got {low} and {high}.")
    instance(process, "process", Process, "give a process, such as undrift.VP()")
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    reach = torch.exp(-ends / 2)
    # A process that lies wholly outside keeps its own ends.
    top, bottom = (reach if reach[0] <= low or reach[1] >= high else reach.clamp(low, high)).tolist()
    if _steps(n) == 1:
        return torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    ratios = back(torch.linspace(forward(top), forward(bottom), n, dtype=torch.float64))
    # Where the process itself ends at `sigma_low` or above, its last level is t_min: keep the number of steps.
    if process.time(-2 * ratios[-1].log()) <= process.t_min + 1e-9 * (process.t_max - process.t_min):
        ratios = back(torch.linspace(forward(top), forward(bottom), n + 1, dtype=torch.float64))[:-1]
    return at_levels(process, ratios)


def _levels(process: Process, n: int) -> int:
    instance(process, "process", Process, "give a process, such as undrift.VP()")
    count = 1000 if process.levels is None else len(process.levels) - 1
    if _steps(n) > count:
        raise ValueError(f"{process} has only {count} levels, so at most {count} steps, not {n}.")
    return count


def _on_chain(process: Process, index: Tensor) -> Tensor:
    """Times of these level numbers (N down to 1), and t_min."""
    if process.levels is not None:
        return torch.cat([index.double(), torch.zeros(1, dtype=torch.float64)]) / (len(process.levels) - 1)
    times = process.time(_DDPM.log_snr(index.double() / 1000))
    if index[0] == 1000:  # the end of the chain is the end of the process, however noisy that is
        times[0] = process.t_max
    inside = (times > process.t_min) & (times < process.t_max)
    inside[0] = True
    return torch.cat([times[inside], times.new_tensor([process.t_min])])
