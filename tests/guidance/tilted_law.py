"""What guided diffusion samples, against the law p(x|y)^s p(x)^(1-s) that its score has at the data: on a line, without chance.

The probability flow on a line keeps the order of points, so it takes the quantiles of the prior to the quantiles of what it
samples: a few hundred paths give the law itself.
"""

import torch

import undrift as ud
from undrift.sampler.base import State

LAW = ud.GaussianMixture([[1.0], [-1.0]], 0.6, [0.4, 0.6], ud.VP())  # the classes overlap: guidance has something to decide
CLASS = 0


def tilted(scale, grid):
    """The density of p(x|y)^s p(x)^(1-s), normalised on the grid `(N,)`."""
    y = torch.full((len(grid),), CLASS)
    log_p = scale * LAW.log_prob(grid[:, None], cond=y) + (1 - scale) * LAW.log_prob(grid[:, None])
    p = (log_p - log_p.max()).exp()
    return p / torch.trapezoid(p, grid)


def quantiles(density, grid, u):
    """Where the distribution function of a density on a grid reaches `u`."""
    mass = torch.cat([torch.zeros(1).double(), torch.cumulative_trapezoid(density, grid)])
    i = torch.searchsorted(mass, u).clamp(1, len(grid) - 1)
    return grid[i - 1] + (u - mass[i - 1]) / (mass[i] - mass[i - 1]) * (grid[i] - grid[i - 1])


def flowed(denoiser, u, steps=100):
    """The quantiles `u` of what the flow of a guided denoiser samples."""
    x = torch.special.ndtri(u)[:, None]
    times = ud.times.log_snr(LAW.process, steps)
    *_, last = ud.Heun()(denoiser.given(torch.full((len(u),), CLASS)), State(x, times[0]), times)
    return last.x[:, 0]


def compare(scale, n=400):
    """Mean and standard deviation of both, and the Wasserstein distance between them."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    law, flow = quantiles(tilted(scale, grid), grid, u), flowed(ud.Mix(LAW, LAW.given(None), scale), u)
    return {
        "tilted": (law.mean().item(), law.std(correction=0).item()),
        "flow": (flow.mean().item(), flow.std(correction=0).item()),
        "distance": (law - flow).abs().mean().item(),
    }


def by_sde(scale, n=4000, steps=400):
    """Draws by the reverse SDE of the same guided denoiser."""
    guided = ud.Mix(LAW, LAW.given(None), scale)
    x = ud.sample(guided, n, ud.Ancestral(), steps, cond=CLASS, like=torch.empty(0, dtype=torch.float64), batch_size=n)
    return x[:, 0]
