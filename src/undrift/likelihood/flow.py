"""The probability flow in coordinates where every process is the same straight line.

With `y = x / (alpha + sigma)` and `u = sigma / (alpha + sigma)` the flow of any process reads (see `sampler.ode`)

    dy/du = noise - data,          u from 0 (data) to 1 (pure noise),

finite at both ends: no sigma'(0) = infinity of VP, no 1/alpha at the end of Rectified, and the schedule is gone but for the
interval. A density moves with it as

    log p(y_0) = log p(y_1) + integral div_y (noise - data) du          (Chen et al. 2018, eq. 8; Song et al. 2021, eq. 39)

and `x = (alpha + sigma) y` adds `D log(alpha + sigma)`. What remains uneven is the data: directions of standard deviation s
bend the flow around u = s, and images have directions from 1 down to less than 0.01. So solvers step in
`tau = u^(1/4)`, in which such bends are about equally wide: chosen by measurement, see `docs/bits_per_dim.md`.

The line starts at the noise level `start = sigma / alpha`, never below what the process reaches. The data point given is
read as `x_t / alpha` there, so the density found is that of `x_0 + start eps`, the same for every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undrift.argument import real
from undrift.denoiser import AnyDenoiser
from undrift.likelihood.divergence import Divergence, wide
from undrift.process import Process, expand
from undrift.solver import Values

START = 1e-4  # changes log p by about 1e-8 (score^2 + trace of the Hessian)/2: unseen, unless the data lie on a manifold
POWER = 4


class Line:
    """The straight line of a process from noise level `start` to `t_max`.

    Attributes:
        start: Noise level sigma/alpha at which it begins, in data units.
        low, high: The ends in `tau`.

    Raises:
        ValueError: no process, or `start` negative or beyond the end.
    """

    def __init__(self, process: Process, start: float = START) -> None:
        if not isinstance(process, Process):
            raise ValueError(
                f"a density needs a process with alpha(t) and sigma(t), and {type(process).__name__} is none: "
                "a discrete recipe has one only as `DDPM` or `SMLD`."
            )
        self.process = process
        self._known: dict[float, tuple[Tensor, Tensor, Tensor]] = {}
        (alpha, sigma), (self._alpha, self._sigma) = (process(_time(t)) for t in (process.t_min, process.t_max))
        least, most = float(sigma / (alpha + sigma)), float(self._sigma / (self._alpha + self._sigma))
        if not 0 <= real(start, "start", finite=False) < math.inf or start / (1 + start) >= most:
            most = most / (1 - most) if most < 1 else math.inf
            raise ValueError(f"`start` is a noise level from 0 up to {most:g}, got {start}.")
        wanted = start / (1 + start)
        self._own = wanted <= least  # begins at the process's own t_min
        first = least if self._own else wanted
        self._ends = (first, most)
        self.start = first / (1 - first)
        self.low, self.high = first ** (1 / POWER), most ** (1 / POWER)

    def at(self, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(t, alpha + sigma, du/dtau)` at `tau`, each of its shape. Those of a fixed grid are kept: every batch asks again."""
        if tau.ndim:
            return self._at(tau)
        key = float(tau)
        if key not in self._known:
            self._known[key] = self._at(tau)
        return self._known[key]

    def _at(self, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = tau**POWER
        t = self.process.time(2 * ((1 - u).log() - u.log()))
        t = torch.where(tau >= self.high, self.process.t_max, t)
        if self._own:
            t = torch.where(tau <= self.low, self.process.t_min, t)
        alpha, sigma = self.process(t)
        return t, alpha + sigma, POWER * tau ** (POWER - 1)

    def from_data(self, x: Tensor) -> Tensor:
        """Data `(B, *D)` to y at the start of the line."""
        return x.to(wide(x)) * (1 - self._ends[0])

    def to_data(self, y: Tensor) -> Tensor:
        """y at the start of the line to data."""
        return y / (1 - self._ends[0])

    def from_noise(self, x: Tensor) -> Tensor:
        """x at `t_max` to y at the end of the line."""
        return x.to(wide(x)) / (self._alpha + self._sigma)

    def to_noise(self, y: Tensor) -> Tensor:
        """y at the end of the line to x at `t_max`."""
        return y * (self._alpha + self._sigma)

    @property
    def log_scale(self) -> float:
        """Nats per dimension by which the scalings at both ends change a log density: log dx_T/dy_1 + log dy_0/dx_0."""
        return float((self._alpha + self._sigma).log()) + math.log1p(-self._ends[0])

    @property
    def snr(self) -> float:
        """(alpha / sigma)^2 at `t_max`: the signal that the prior denies."""
        return float((self._alpha / self._sigma) ** 2)

    def velocity(self, denoiser: AnyDenoiser, dtype: torch.dtype) -> Callable[[Tensor, Values], Values]:
        """The field `(tau, (y,)) -> (dy/dtau,)`; the denoiser is called in `dtype`, the state stays as it is."""

        def field(tau: Tensor, state: Values) -> Values:
            t, scale, rate = self.at(tau)
            y = state[0]
            data, noise = denoiser((expand(scale, y) * y).to(dtype), t)
            return (expand(rate, y) * (noise - data).to(y.dtype),)

        return field

    def velocity_and_divergence(
        self, denoiser: AnyDenoiser, dtype: torch.dtype, probes: Tensor | None, chunk: int | None
    ) -> Callable[[Tensor, Values], Values]:
        """The field `(tau, (y, gain)) -> (dy/dtau, div_y dy/dtau)`, gain `(B, 1)` or `(B, K)`."""
        divergence = Divergence(probes, chunk)

        def field(tau: Tensor, state: Values) -> Values:
            t, scale, rate = self.at(tau)
            y = state[0]

            def slope(x: Tensor) -> Tensor:
                data, noise = denoiser(x, t)
                return noise - data

            value, trace = divergence(slope, (expand(scale, y) * y).to(dtype))
            gain = expand(rate * scale, trace) * trace  # the divergence in y is that in x times dx/dy
            return expand(rate, y) * value.to(y.dtype), gain

        return field


def _time(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)
