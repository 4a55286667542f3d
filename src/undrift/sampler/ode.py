"""One-step solvers of the probability-flow ODE.

Runge-Kutta methods run in coordinates where every process is a straight line: with `y = x / (alpha + sigma)` and
`u = sigma / (alpha + sigma)` the flow of any process reads `dy/du = noise - data`, finite at both ends. For `Rectified` y = x and
u = t, and the Euler step is DDIM. (Data of another than about unit spread count in units of theirs: alpha times the unit, and the
data divided by it.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from undrift.argument import instance
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.noise import Noise
from undrift.process import Process, expand
from undrift.sampler.base import Sampler, State
from undrift.solver import DOPRI5, EULER, HEUN, MIDPOINT, RK4, Solver, Tableau
from undrift.times import in_units


def straight(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """`(alpha + sigma, u)` at times of any shape."""
    alpha, sigma = process(t)
    return alpha + sigma, sigma / (alpha + sigma)


def slope(prediction: Prediction, unit: float) -> Tensor:
    """dy/du, `(B, *D)`."""
    return torch.sub(prediction.noise, prediction.data, alpha=1 / unit)


def time_of(process: Process, u: Tensor) -> Tensor:
    """The time at which `sigma / (alpha + sigma) = u`."""
    return process.time(2 * (torch.log1p(-u) - u.log()))


@dataclass(frozen=True)
class RungeKutta(Sampler):
    """An explicit Runge-Kutta method along the flow; the classical one of order 4 by default.

    `Euler`, `Heun` and `Midpoint` are named; `undrift.solver` has the tableaus. Order: the tableau's. Evaluations: its stages for
    each step, one for the last.
    """

    tableau: Tableau = RK4

    def __post_init__(self) -> None:
        instance(self.tableau, "tableau", Tableau, "take one of undrift.solver")

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.tableau.order

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, tableau, unit = in_units(denoiser.process, denoiser.unit), self.tableau, denoiser.unit
        (scale, u), (scale_s, u_s) = straight(process, state.t), straight(process, s)
        y, du = state.x / scale, u_s - u
        first = denoiser(state.x, state.t)
        slopes = [slope(first, unit)]
        for row, c in zip(tableau.a[1 : tableau.stages], tableau.c[1 : tableau.stages], strict=True):
            at = s if c == 1 else time_of(process, u + c * du)
            slopes.append(slope(denoiser(straight(process, at)[0] * (y + du * _sum(row, slopes)), at), unit))
        return state.next(scale_s * (y + du * _sum(tableau.b, slopes)), s, first.data)

    def evaluations(self, steps: int) -> int:
        return self.tableau.stages * (steps - 1) + 1


def _sum(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    terms = [w * k for w, k in zip(weights, slopes, strict=False) if w]
    return torch.stack(terms).sum(0) if len(terms) > 2 else terms[0] if len(terms) == 1 else terms[0] + terms[1]


@dataclass(frozen=True)
class Euler(RungeKutta):
    """Euler's method, which in these coordinates is DDIM (Song et al. 2020), `Ancestral(0)`. One evaluation per step."""

    tableau: Tableau = EULER


@dataclass(frozen=True)
class Heun(RungeKutta):
    """Heun's method; under `Karras` it differs from EDM's Algorithm 1 (Karras et al. 2022) only by the coordinate.

    Order 2. Two evaluations per step, one in the last.
    """

    tableau: Tableau = HEUN


@dataclass(frozen=True)
class Midpoint(RungeKutta):
    """The midpoint rule. Order 2. Two evaluations per step, one in the last."""

    tableau: Tableau = MIDPOINT


@dataclass(frozen=True)
class DPM2S(Sampler):
    """DPM-Solver++(2S): the data prediction in the middle of the step, in log-SNR, for the whole step (Lu et al. 2022b, Alg. 1).

    `x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) D(x_m, m)`. From pure noise, where the step has no middle, m lies one unit of
    half log-SNR before s: the mean of the weight e^-(h - u) that D has there. Order 2. Two evaluations per step, one in the last.
    """

    order: ClassVar[int] = 2

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        h = (process.log_snr(s) - process.log_snr(t)) / 2
        before = h / 2 if math.isfinite(h) else torch.ones_like(h)
        m = process.time(process.log_snr(s) - 2 * before)
        data = denoiser(state.x, t).data
        middle = denoiser(self._move(process, state.x, t, m, data), m).data
        return state.next(self._move(process, state.x, t, s, middle), s, data)

    @staticmethod
    def _move(process: Process, x: Tensor, t: Tensor, s: Tensor, data: Tensor) -> Tensor:
        (_, sigma_t), (alpha_s, sigma_s) = process(t), process(s)
        h = (process.log_snr(s) - process.log_snr(t)) / 2
        return sigma_s / sigma_t * x - alpha_s * torch.expm1(-h) * data

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1


@dataclass(frozen=True)
class Adaptive(Sampler):
    """Step control between the times of the grid: each sample takes the steps that its own error asks for.

    An embedded pair (`undrift.solver`), the root mean square of error over `atol + rtol |y|` held below 1 for each sample. The last
    stretch, to t_min, is followed down to the noise level sigma/alpha = `atol`, or to t_min where the process is noisier there, and
    only then denoised: what that step leaves out is below the tolerance as well. So the error follows the tolerance, on any grid.
    Order: the tableau's, in steps. Evaluations: as many as it takes (`evaluations` is None); wrap the denoiser in `Counted` to know.

    Args:
        tableau: A pair with an error estimate: `BOSH3`, `DOPRI5`.
        rtol, atol: Tolerances of one step, relative and absolute (y has about unit scale).

    Raises:
        ValueError: tolerances that are not positive, a method without error estimate.
    """

    tableau: Tableau = DOPRI5
    rtol: float = 1e-3
    atol: float = 1e-3
    solver: Solver = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        instance(self.tableau, "tableau", Tableau, "take one of undrift.solver")
        object.__setattr__(self, "solver", Solver(self.tableau, None, self.rtol, self.atol))

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.tableau.order

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, unit, x = in_units(denoiser.process, denoiser.unit), denoiser.unit, state.x
        (scale, u), (scale_s, u_s) = straight(process, state.t), straight(process, s)

        def field(at: Tensor, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            t = time_of(process, at).clamp(float(s), float(state.t))
            return (slope(denoiser(y[0] * expand(straight(process, t)[0], x), t), unit),)

        y = self.solver(field, (x / scale,), float(u), float(u_s)).state[0]
        return state.next(scale_s * y, s, state.data)

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process = in_units(denoiser.process, denoiser.unit)
        level = max(self.atol, torch.finfo(state.x.dtype).eps)  # below it the data round the noise away
        low = process.time(torch.full_like(state.t, -2 * math.log(level)))  # t_min, where the process does not reach so far
        if low < state.t:
            state = replace(self.step(denoiser, state, low, noise), index=state.index)
        return super().finish(denoiser, state, s, noise)

    def evaluations(self, steps: int) -> None:
        return None
