"""Multistep solvers: they remember earlier predictions instead of paying for new ones.

With half log-SNR `lam = log(alpha/sigma)`, h the step in it and D the data prediction along the way, the reverse process with a
share tau of noise (0: the probability flow, 1: Anderson's SDE) is solved exactly by

    x_s = sigma_s/sigma_t e^(-tau^2 h) x_t + alpha_s (1 + tau^2) int_0^h e^(-(1 + tau^2)(h - u)) D(u) du
          + sigma_s sqrt(1 - e^(-2 tau^2 h)) z

(Lu et al. 2022b, DPM-Solver++, eq. 8 and 12; Xue et al. 2023, SA-Solver, prop. 4.2). All that a solver adds is a polynomial in
place of D: the solvers below differ in how many predictions it passes through, and in whether a step is taken again once the
prediction at its end is known. From pure noise h is infinite, and a constant is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser, Prediction
from undrift.noise import Noise
from undrift.process import Process
from undrift.sampler.base import Sampler, State


@dataclass(frozen=True)
class DPM2M(Sampler):
    """DPM-Solver++(2M): a line through the last two data predictions (Lu et al. 2022b, Algorithm 2).

    `x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) [D + h/(2 h') (D - D')]`, primes the step before: the line is taken at the
    middle of the step. Order 2. One evaluation per step.
    """

    order: ClassVar[int] = 2

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        sigma_t, (alpha_s, sigma_s) = process.sigma(t), process(s)
        data = denoiser(state.x, t).data
        h = (process.log_snr(s) - process.log_snr(t)) / 2
        x = sigma_s / sigma_t * state.x - alpha_s * torch.expm1(-h) * self._middle(state, data, h)
        return state.next(x, s, data, memory=(data, h))

    @staticmethod
    def _middle(state: State, data: Tensor, h: Tensor) -> Tensor:
        """The line at the middle of the step of length h; a constant at first, and after a step from pure noise."""
        if state.memory is None:
            return data
        last_data, last_h = state.memory
        return data + h / (2 * last_h) * (data - last_data)


@dataclass(frozen=True)
class SDEDPM2M(DPM2M):
    """The SDE form of DPM-Solver++(2M): the same line with all of the reverse SDE's noise (Lu et al. 2022b, sec. 5).

    `x_s = sigma_s/sigma_t e^-h x_t + alpha_s (1 - e^-2h) [D + h/(2 h') (D - D')] + sigma_s sqrt(1 - e^-2h) z`. Weak order 2 where
    the denoiser is linear, else 1 with a small constant. One evaluation per step. (Its first-order member is `Ancestral()`: the
    exact posterior of the step is the exponential integrator with a constant prediction.)
    """

    stochastic: ClassVar[bool] = True

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        sigma_t, (alpha_s, sigma_s) = process.sigma(t), process(s)
        data = denoiser(state.x, t).data
        h = (process.log_snr(s) - process.log_snr(t)) / 2
        fresh = -torch.expm1(-2 * h)
        x = sigma_s / sigma_t * torch.exp(-h) * state.x + alpha_s * fresh * self._middle(state, data, h)
        return state.next(x + sigma_s * fresh.sqrt() * noise.normal(x), s, data, memory=(data, h))


class Past(NamedTuple):
    """What an Adams solver remembers: earlier predictions, newest first, with their clocks; how the last step began and ended."""

    clocks: tuple[float, ...]
    values: tuple[Tensor, ...]
    x: Tensor
    t: Tensor
    kick: Tensor | None
    new: Tensor


@dataclass(frozen=True)
class Adams(Sampler):
    """The polynomial through the last `points` data predictions, integrated exactly: exponential Adams-Bashforth in log-SNR.

    With `corrector`, once the prediction at the end of a step is known, the step is taken again with it as one more point
    (Adams-Moulton), and the predictions stay as they are: no evaluation more (Zhao et al. 2023, UniPC, Algorithms 1 and 2, whose
    conditions on the coefficients are those of the polynomial). With `tau`, noise is added, the same in both takes (Xue et al.
    2023). The named members are `DPM3M`, `UniPC`, `SASolver`, `DEIS` and `ABM`.

    Order: `points`, one more with the corrector; with noise the weak order, at most 2, is that of `SDEDPM2M`. One evaluation per
    step.

    Args:
        points: Predictions that the polynomial passes through.
        corrector: Take each step again when its end is known.
        tau: Share of the reverse SDE's noise.

    Raises:
        ValueError: points outside 1..4, a tau that is negative or not finite.
    """

    points: int = 3
    corrector: bool = False
    tau: float = 0.0

    def __post_init__(self) -> None:
        if self.points not in (1, 2, 3, 4):
            raise ValueError(f"`points` of an Adams solver must be 1, 2, 3 or 4, got {self.points}.")
        if not 0 <= self.tau < math.inf:
            raise ValueError(f"`tau` is a share of noise: finite, and must not be negative; got {self.tau}.")

    @property
    def order(self) -> int:  # type: ignore[override]  # a fact of the class elsewhere, of the object here
        return min(2, self.points) if self.tau else self.points + self.corrector

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.tau > 0

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, x, t = denoiser.process, state.x, state.t
        prediction, clock = denoiser(x, t), self.clock(process, t)
        if math.isinf(clock):  # pure noise: exact with a constant, and no point of a polynomial
            alpha, sigma = process(s)
            x = alpha * prediction.data + sigma * (noise.normal(x) if self.tau else prediction.noise)
            return state.next(x, s, prediction.data)
        clocks: tuple[float, ...] = (clock,)
        values: tuple[Tensor, ...] = (self.value(prediction),)
        past: Past | None = state.memory
        if past is not None:
            clocks, values = clocks + past.clocks, values + past.values
            if self.corrector:
                again = self._take(process, past.x, past.t, t, clocks, values, past.kick)
                # Whatever moved the state since then (a Langevin move, the user) stays.
                x = again if x is past.new else x + (again - past.new)
        clocks, values, kick = clocks[: self.points], values[: self.points], None
        if self.tau:
            h = self.clock(process, s) - clock
            kick = process.sigma(s) * math.sqrt(-math.expm1(-2 * self.tau**2 * h)) * noise.normal(x)
        new = self._take(process, x, t, s, clocks, values, kick)
        return state.next(new, s, prediction.data, memory=Past(clocks, values, x, t, kick, new))

    def _take(
        self,
        process: Process,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        clocks: tuple[float, ...],
        values: tuple[Tensor, ...],
        kick: Tensor | None,
    ) -> Tensor:
        """The step from t to s with the polynomial through (clocks, values)."""
        start = self.clock(process, t)
        h = self.clock(process, s) - start
        kept, gain, rate = self.factors(process, t, s, h)
        new = kept * x
        for weight, value in zip(weights(rate * h, [(at - start) / h for at in clocks]), values, strict=True):
            new.add_(value, alpha=gain * rate * h * weight)
        return new if kick is None else new.add_(kick)

    def clock(self, process: Process, t: Tensor) -> float:
        """What the polynomial is in: half log-SNR, minus infinity at pure noise."""
        return float(process.log_snr(t)) / 2

    def value(self, prediction: Prediction) -> Tensor:
        """What the polynomial is of."""
        return prediction.data

    def factors(self, process: Process, t: Tensor, s: Tensor, h: float) -> tuple[float, float, float]:
        """`(kept, gain, rate)` of `x_s = kept x_t + gain rate int_0^h e^(-rate (h - u)) value(u) du`."""
        (sigma_t, (alpha_s, sigma_s)) = process.sigma(t), process(s)
        return float(sigma_s / sigma_t) * math.exp(-(self.tau**2) * h), float(alpha_s), 1 + self.tau**2


def weights(c: float, nodes: list[float]) -> list[float]:
    """w with `sum_j w_j f(v_j) = int_0^1 e^(-c (1 - v)) f(v) dv` for every polynomial f of degree below the number of nodes."""
    of_power, found = moments(c, len(nodes)), []
    for node in nodes:
        lagrange = [1.0]  # coefficients of the polynomial that is 1 at this node and 0 at the others, constant first
        for other in nodes:
            if other != node:
                shifted = zip([0.0, *lagrange], [*lagrange, 0.0], strict=True)
                lagrange = [(up - other * same) / (node - other) for up, same in shifted]
        found.append(sum(a * b for a, b in zip(lagrange, of_power, strict=True)))
    return found


def moments(c: float, count: int) -> list[float]:
    """`int_0^1 e^(-c (1 - v)) v^n dv` for n < count: n! phi_(n+1)(-c), by its series where the recursion would cancel."""
    if abs(c) < 1:
        return [math.factorial(n) * sum((-c) ** j / math.factorial(j + n + 1) for j in range(20)) for n in range(count)]
    found = [-math.expm1(-c) / c]
    for n in range(1, count):
        found.append((1 - n * found[-1]) / c)
    return found


@dataclass(frozen=True)
class DPM3M(Adams):
    """DPM-Solver++(3M): a parabola through the last three data predictions (Lu et al. 2022b, app. B).

    The published code weighs the second difference by half of what the integral of the parabola gives, and is of order 2; this
    one is of order 3. One evaluation per step.
    """


@dataclass(frozen=True)
class UniPC(Adams):
    """UniPC: `points` data predictions forward, and each step corrected with the next prediction (Zhao et al. 2023).

    Order `points + 1`. One evaluation per step.
    """

    points: int = 2
    corrector: bool = True


@dataclass(frozen=True)
class SASolver(Adams):
    """SA-Solver: predictor and corrector of the reverse SDE with a share `tau` of its noise (Xue et al. 2023, Algorithm 1).

    Weak order as `SDEDPM2M`. One evaluation per step.
    """

    points: int = 2
    corrector: bool = True
    tau: float = 1.0


@dataclass(frozen=True)
class DEIS(Adams):
    """DEIS: a polynomial in log-SNR through the last noise predictions (Zhang & Chen 2022, Algorithm 1, tAB in log rho).

    It takes the place of PNDM's linear multistep (Liu et al. 2022), which extrapolates the noise as if steps were even. Order
    `points`. One evaluation per step.

    Raises:
        ValueError: with noise (`tau`): the noise prediction has no bounded SDE form.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau:
            raise ValueError("`tau` goes with the data prediction: use `SASolver`, not `DEIS`.")

    def value(self, prediction: Prediction) -> Tensor:
        return prediction.noise

    def factors(self, process: Process, t: Tensor, s: Tensor, h: float) -> tuple[float, float, float]:
        (alpha_s, sigma_s) = process(s)
        return float(alpha_s / process.alpha(t)), float(sigma_s), -1.0


@dataclass(frozen=True)
class ABM(Adams):
    """Adams-Bashforth-Moulton in `log(1 + alpha/sigma)`: the sampler for few steps.

    As `UniPC`, but in a clock that is log(alpha/sigma) at low noise and alpha/sigma at high noise, where the data prediction is
    linear in it. It is finite at pure noise, so the prediction there is a point like any other, and the second step from pure
    noise already has the full order; in log-SNR that point lies at infinity and its evaluation is lost. With w the clock the flow
    reads `d(x/sigma) = D e^w dw`, so the integrals are those of `Adams`. Order `points + 1`. One evaluation per step.

    Raises:
        ValueError: with noise (`tau`): use `SASolver`.
    """

    points: int = 2
    corrector: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau:
            raise ValueError("`ABM` solves the flow, without noise: for `tau` use `SASolver`.")

    def clock(self, process: Process, t: Tensor) -> float:
        alpha, sigma = process(t)
        return math.log1p(float(alpha / sigma))

    def factors(self, process: Process, t: Tensor, s: Tensor, h: float) -> tuple[float, float, float]:
        (alpha_s, sigma_s) = process(s)
        return float(sigma_s / process.sigma(t)), float(alpha_s + sigma_s), 1.0
