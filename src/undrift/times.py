"""Time grids: where a sampler stops on its way from noise to data.

A grid is `(n + 1,)` float64 times from t_max down to t_min, and costs a one-evaluation sampler n evaluations: the last
step, from the last time at which there is still noise to `t_min`, is the denoised mean (see `sampler`). Grids that are
even in the noise level rather than in t stop at noise levels between `sigma_low` and `sigma_high` (ratios sigma/alpha,
for data of about unit spread) where the process reaches further. The upper end is that of Karras et al. 2022; the lower one,
0.02, is ten times theirs: the last step removes that noise anyway, and with few steps the evaluations between the two ends
are better spent elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undrift.process import Process

Grid = Callable[[Process, int], Tensor]


def _steps(n: int) -> int:
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"`steps` must be a whole number of at least 1, got {n}.")
    return n


def uniform(process: Process, n: int) -> Tensor:
    """Even in t; on a chain, on its levels as near as that gets ("trailing": the noisiest level is always kept).

    Raises:
        ValueError: `n` is below 1.
    """
    times = torch.linspace(process.t_max, process.t_min, _steps(n) + 1, dtype=torch.float64)
    if process.levels is None:
        return times
    count = len(process.levels) - 1
    if n > count:
        raise ValueError(f"{process} has only {count} levels, so at most {count} steps, not {n}.")
    return (times * count).round() / count


def log_snr(process: Process, n: int, sigma_low: float = 0.02, sigma_high: float = 80.0) -> Tensor:
    """Even in log-SNR (Lu et al. 2022, sec. 3.3)."""
    return _by_level(process, n, sigma_low, sigma_high, math.log, torch.exp)


def karras(process: Process, n: int, rho: float = 7.0, sigma_low: float = 0.02, sigma_high: float = 80.0) -> Tensor:
    """Even in (sigma/alpha)^(1/rho): denser at low noise than `uniform`, at high noise than `log_snr` (Karras 2022, eq. 5)."""
    return _by_level(process, n, sigma_low, sigma_high, lambda s: s ** (1 / rho), lambda u: u**rho)


def _by_level(
    process: Process, n: int, low: float, high: float, forward: Callable[[float], float], back: Callable[[Tensor], Tensor]
) -> Tensor:
    if not 0 < low < high:
        raise ValueError(f"a grid needs 0 < sigma_low < sigma_high, got {low} and {high}.")
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    reach = torch.exp(-ends / 2)
    # A process that lies wholly outside keeps its own ends.
    top, bottom = (reach if reach[0] <= low or reach[1] >= high else reach.clamp(low, high)).tolist()
    if _steps(n) == 1:
        return torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    ratios = back(torch.linspace(forward(top), forward(bottom), n, dtype=torch.float64))
    times = process.time(-2 * ratios.log())
    times[0] = process.t_max
    # Where the process itself ends at `sigma_low` or above, its last level is t_min: keep the grid strictly decreasing.
    if times[-1] <= process.t_min + 1e-9 * (process.t_max - process.t_min):
        ratios = back(torch.linspace(forward(top), forward(bottom), n + 1, dtype=torch.float64))
        times = torch.cat([times[:1], process.time(-2 * ratios[1:-1].log())])
    return torch.cat([times, times.new_tensor([process.t_min])])
