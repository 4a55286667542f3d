"""Multistep solvers: they remember earlier predictions instead of paying for new ones.

The probability flow is one equation, and it can be written with either half of the prediction, data D and noise N, or both:

    d(x / sigma) = D d(alpha / sigma)        d(x / alpha) = N d(sigma / alpha)        d(x / (alpha + sigma)) = (N - D) du

with u = sigma / (alpha + sigma) (Lu et al. 2022b, DPM-Solver++, prop. 4.1; Zhang & Chen 2022, DEIS, eq. 10; `sampler.ode`). Each
is exact but for one integral. All that a solver adds is a polynomial in place of what is under it, and so there are two choices:
of what (`quantity`), and in what (`coordinate`). `Adams` is both, and the published solvers are its names. With a share tau of the
reverse SDE's noise the first of the three becomes

    x_s = sigma_s/sigma_t e^(-tau^2 h) x_t + alpha_s (1 + tau^2) int_0^h e^(-(1 + tau^2)(h - v)) D(v) dv
          + sigma_s sqrt(1 - e^(-2 tau^2 h)) z

where v and h count half log-SNR, `lam = log(alpha/sigma)`, from t (Xue et al. 2023, SA-Solver, prop. 4.2). From pure noise h is
infinite, and a constant is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from undrift.argument import real, said, whole
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.noise import Noise
from undrift.process import Process
from undrift.sampler.base import PURE_NOISE, Sampler, State
from undrift.times import in_units


@dataclass(frozen=True)
class DPM2M(Sampler):
    """DPM-Solver++(2M): a line through the last two data predictions (Lu et al. 2022b, Algorithm 2).

    `x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) [D + h/(2 h') (D - D')]`, primes the step before: the line is taken at the
    middle of the step. Order 2. One evaluation per step.
    """

    order: ClassVar[int] = 2

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, t = denoiser.process, state.t
        (_, sigma_t), (alpha_s, sigma_s) = process(t), process(s)
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
        (_, sigma_t), (alpha_s, sigma_s) = process(t), process(s)
        data = denoiser(state.x, t).data
        h = (process.log_snr(s) - process.log_snr(t)) / 2
        fresh = -torch.expm1(-2 * h)
        x = sigma_s / sigma_t * torch.exp(-h) * state.x + alpha_s * fresh * self._middle(state, data, h)
        return state.next(x + sigma_s * fresh.sqrt() * noise.normal(x), s, data, memory=(data, h))


class Past(NamedTuple):
    """What an Adams solver remembers.

    Attributes:
        clocks, values: Earlier predictions, newest first, and where they were made in the solver's coordinate.
        x, t: Where the last step began.
        kick: Its noise, if any.
        new: Where it ended.
        age: Steps since the start.
        first: `(x, t)` of the start, while the way from there may still be taken again.
    """

    clocks: tuple[float, ...]
    values: tuple[Tensor, ...]
    x: Tensor
    t: Tensor
    kick: Tensor | None
    new: Tensor
    age: int
    first: tuple[Tensor, Tensor] | None


Pair = Callable[[Tensor, Tensor], Tensor]  # of alpha and sigma
COORDINATES: dict[str, Pair] = {
    "log_snr": lambda alpha, sigma: (alpha / sigma).log(),
    "log_straight": lambda alpha, sigma: (alpha / sigma).log1p(),
    "straight": lambda alpha, sigma: sigma / (alpha + sigma),
    "ratio": lambda alpha, sigma: sigma / alpha,
}
# What x is divided by in the flow's equation for each quantity.
QUANTITIES: dict[str, Pair] = {
    "data": lambda alpha, sigma: sigma,
    "noise": lambda alpha, sigma: alpha,
    "velocity": lambda alpha, sigma: alpha + sigma,
}
FAR, NEAR = 1.0, 0.5  # in half log-SNR; chosen by measurement, see `Adams`


@dataclass(frozen=True)
class Adams(Sampler):
    """A polynomial through the last `points` predictions, integrated exactly: exponential Adams-Bashforth.

        quantity     coordinate                               names
        data         log_snr        log(alpha/sigma)          `DPM3M`, `UniPC`, `SASolver`
        data         log_straight   log(1 + alpha/sigma)      `ABM`
        noise        log_snr                                  `DEIS`
        noise        time           the process's own t       `PLMS`
        velocity     straight       sigma/(alpha + sigma)     `VelocityAB`

    Any quantity goes with any coordinate; the fifth is "ratio", sigma/alpha. The velocity is that of the straight line, noise - data.
    The integrals are closed forms where the measure is an exponential or even in the coordinate, else Gauss-Legendre sums in float64.

    With `corrector`, once the prediction at the end of a step is known, the step is taken again with it as one more point
    (Adams-Moulton), and the predictions stay as they are: no evaluation more (Zhao et al. 2023, UniPC, Algorithms 1 and 2, whose
    conditions on the coefficients are those of the polynomial). With `tau`, noise is added, the same in both takes (Xue et al. 2023).

    Order: `points`, one more with the corrector, at most 4; with noise the weak order, at most 2, is that of `SDEDPM2M`. To have it
    from any start, the start is taken again, at no cost: the first step as soon as the prediction at its end is known; and for order
    4 the first three, as soon as they span less than half a unit of half log-SNR, without the second prediction, which was made from
    a first guess. A noise prediction far from the data is worth little, since the flow multiplies its error by sigma/alpha: a first
    step by it that is longer than one unit is not taken again, and above order 2 the prediction is forgotten if that step is more than
    twice as long as the second.

    From pure noise the step is exact with a constant; where the coordinate is infinite there (log_snr, ratio), the prediction is no
    point of the polynomial. One evaluation per step.

    Args:
        points: Predictions that the polynomial passes through.
        corrector: Take each step again when its end is known.
        tau: Share of the reverse SDE's noise.
        quantity: What the polynomial is of: data, noise or velocity.
        coordinate: What it is in: log_snr, log_straight, straight, ratio or time.

    Raises:
        ValueError: points outside 1..4; a tau that is negative, not finite, or not of the data; an unknown quantity or coordinate.
    """

    points: int = 3
    corrector: bool = False
    tau: float = 0.0
    quantity: str = "data"
    coordinate: str = "log_snr"

    def __post_init__(self) -> None:
        if whole(self.points, "points") not in (1, 2, 3, 4):
            raise ValueError(f"`points` of an Adams solver must be 1, 2, 3 or 4, got {self.points}.")
        if not 0 <= real(self.tau, "tau", finite=False) < math.inf:
            raise ValueError(f"`tau` is a share of noise: finite, and must not be negative; got {self.tau}.")
        for name, known in (("quantity", [*QUANTITIES]), ("coordinate", [*COORDINATES, "time"])):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise ValueError(f"`{name}` of an Adams solver is one of {', '.join(known)}, not {said(getattr(self, name))}.")
        if self.tau and self.quantity != "data":
            raise ValueError(f"`tau` goes with the data prediction: use `SASolver`, not the {self.quantity}.")

    @property
    def order(self) -> int:  # type: ignore[override]  # a fact of the class elsewhere, of the object here
        return min(2, self.points) if self.tau else min(4, self.points + self.corrector)

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.tau > 0

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        process, unit, x, t = in_units(denoiser.process, denoiser.unit), denoiser.unit, state.x, state.t
        data, eps = denoiser(x, t)
        prediction = Prediction(data if unit == 1 else data / unit, eps)
        (alpha, sigma), (alpha_s, sigma_s) = process(t), process(s)
        if alpha < PURE_NOISE * sigma and self.coordinate in ("log_snr", "ratio"):
            x = alpha_s * prediction.data + sigma_s * (noise.normal(x) if self.tau else eps)
            return state.next(x, s, data)
        clocks: tuple[float, ...] = (self.clock(process, t),)
        values: tuple[Tensor, ...] = (self.value(prediction),)
        past: Past | None = state.memory
        age, first = 0, (x, t) if self.order > 3 else None
        if past is not None:
            # Whatever moved the state since the last step (a Langevin move, the user) stays, and ends the start.
            age, still = past.age + 1, x is past.new
            first = past.first if still and age < 4 else None
            clocks, values = clocks + past.clocks, values + past.values
            again = (past.x, past.t) if self.corrector or (age == 1 and self.order > 2) else None
            if again and age == 1 and self.quantity == "noise" and (gone := _half(process, past.t, t)) > FAR:
                again = None
                if gone > 2 * _half(process, t, s):
                    clocks, values, age, first = clocks[:1], values[:1], 0, (x, t) if self.order > 3 else None
            elif age == 3 and first is not None and _half(process, first[1], t) < NEAR:
                clocks, values, again = clocks[:2] + clocks[3:], values[:2] + values[3:], first
            if again is not None:
                new = self._take(process, *again, t, clocks, values, past.kick)
                x = new if still else x + (new - past.new)
        clocks, values, kick = clocks[: self.points], values[: self.points], None
        if self.tau:
            kick = sigma_s * math.sqrt(-math.expm1(-2 * self.tau**2 * _half(process, t, s))) * noise.normal(x)
        if self.quantity == "noise" and len(clocks) == 1:  # the same for a constant, without dividing by alpha
            new = alpha_s * prediction.data + sigma_s * eps
        else:
            new = self._take(process, x, t, s, clocks, values, kick)
        return state.next(new, s, data, memory=Past(clocks, values, x, t, kick, new, age, first))

    def clock(self, process: Process, t: Tensor) -> float:
        """The coordinate at time t."""
        if self.coordinate == "time":
            return float(t)
        if self.coordinate == "log_snr":
            return float(process.log_snr(t)) / 2
        alpha, sigma = process(t)
        if self.coordinate == "log_straight":
            return math.log1p(float(alpha / sigma))
        return float(COORDINATES[self.coordinate](alpha, sigma))

    def value(self, prediction: Prediction) -> Tensor:
        """What the polynomial passes through."""
        if self.quantity == "velocity":
            return prediction.noise - prediction.data
        return prediction.data if self.quantity == "data" else prediction.noise

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
        scale = QUANTITIES[self.quantity]
        kept = float(scale(*process(s)) / scale(*process(t)))
        if self.tau:
            kept *= math.exp(-(self.tau**2) * _half(process, t, s))
        new = kept * x
        for weight, value in zip(self.weights(process, t, s, clocks), values, strict=True):
            new.add_(value, alpha=weight)
        return new if kick is None else new.add_(kick)

    def weights(self, process: Process, t: Tensor, s: Tensor, clocks: tuple[float, ...]) -> list[float]:
        """What each prediction weighs in the step from t to s: the integrals of their Lagrange polynomials, times the scale at s."""
        alpha, sigma = (float(a) for a in process(s))
        k = 1 + self.tau**2
        # `(gain, rate)`: the measure is `gain rate e^(-rate (end - clock)) d clock`, or `gain d clock` for rate 0.
        closed = {
            ("data", "log_snr"): (alpha, k),
            ("data", "log_straight"): (alpha + sigma, 1.0) if k == 1 else None,
            ("noise", "log_snr"): (sigma, -1.0),
            ("noise", "ratio"): (alpha, 0.0),
            ("velocity", "log_straight"): (sigma, -1.0),
            ("velocity", "straight"): (alpha + sigma, 0.0),
        }.get((self.quantity, self.coordinate))
        if closed is not None:
            gain, rate = closed
            start = self.clock(process, t)
            h = self.clock(process, s) - start
            nodes = [(at - start) / h for at in clocks]
            return [gain * (rate or 1.0) * h * weight for weight in exponential(rate * h, nodes)]
        end = float(process.log_snr(s)) / 2
        low = max(float(process.log_snr(t)) / 2, min(end, 0.0) - 40)  # below that the measure is e^-40 of what it is at the end
        lam, dlam = _panels(low, end)
        if self.quantity == "data":
            measure = alpha * k * torch.exp(k * (lam - end))
        elif self.quantity == "noise":
            measure = -sigma * torch.exp(end - lam)
        else:
            measure = -(alpha + sigma) * torch.sigmoid(lam) * torch.sigmoid(-lam)
        if self.coordinate == "time":
            at = process.time(2 * lam)
        else:
            at = COORDINATES[self.coordinate](torch.ones_like(lam), torch.exp(-lam))
        found = []
        for j, node in enumerate(clocks):
            lagrange = measure * dlam
            for other in clocks[:j] + clocks[j + 1 :]:
                lagrange = lagrange * (at - other) / (node - other)
            found.append(float(lagrange.sum()))
        return found


def _half(process: Process, t: Tensor, s: Tensor) -> float:
    """Half log-SNR gained from t to s; infinite from pure noise."""
    return (float(process.log_snr(s)) - float(process.log_snr(t))) / 2


_NODES, _WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(16))


def _panels(low: float, high: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre sums from low to high, on panels of length 4 at most: 1e-15 for what is smooth in one unit."""
    edges = torch.linspace(low, high, max(1, math.ceil((high - low) / 4)) + 1, dtype=torch.float64)
    half = edges.diff()[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).flatten(), (half * _WEIGHTS).flatten()


def exponential(c: float, nodes: list[float]) -> list[float]:
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


_FACTORIALS = [float(math.factorial(n)) for n in range(25)]


def moments(c: float, count: int) -> list[float]:
    """`int_0^1 e^(-c (1 - v)) v^n dv` for n < count: n! phi_(n+1)(-c), by its series where the recursion would cancel."""
    if abs(c) < 1:
        powers = [(-c) ** j for j in range(20)]
        return [_FACTORIALS[n] * sum(p / f for p, f in zip(powers, _FACTORIALS[n + 1 :], strict=False)) for n in range(count)]
    found = [-math.expm1(-c) / c]
    for n in range(1, count):
        found.append((1 - n * found[-1]) / c)
    return found


@dataclass(frozen=True)
class DPM3M(Adams):
    """DPM-Solver++(3M): a parabola through the last three data predictions, in log-SNR (Lu et al. 2022b, app. B).

    The published code weighs the second difference by half of what the integral of the parabola gives, and is of order 2; this
    one is of order 3. One evaluation per step.
    """


@dataclass(frozen=True)
class UniPC(Adams):
    """UniPC: `points` data predictions forward, in log-SNR, and each step corrected with the next prediction (Zhao et al. 2023).

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

    Order `points`. One evaluation per step.
    """

    quantity: str = "noise"


@dataclass(frozen=True)
class PLMS(Adams):
    """PLMS: a polynomial in time through the last noise predictions (Liu et al. 2022, PNDM, eq. 12).

    Published, the noise is averaged with the Adams-Bashforth weights of even steps, and put into DDIM's formula; that is what the
    integral comes to where steps are even and sigma/alpha is linear in t, as under `Karras`, and for short steps everywhere. Here the
    integral is exact, so any grid will do, and the start costs nothing. Order `points`. One evaluation per step.
    """

    points: int = 4
    quantity: str = "noise"
    coordinate: str = "time"


@dataclass(frozen=True)
class ABM(Adams):
    """Adams-Bashforth-Moulton in `log(1 + alpha/sigma)`.

    As `UniPC`, but in a coordinate that is log(alpha/sigma) at low noise and alpha/sigma at high noise, where the data prediction is
    linear in it. It is finite at pure noise, so the prediction there is a point like any other, and the second step from pure
    noise already has the full order; in log-SNR that point lies at infinity and its evaluation is lost. Order `points + 1`. One
    evaluation per step.
    """

    points: int = 2
    corrector: bool = True
    coordinate: str = "log_straight"


@dataclass(frozen=True)
class VelocityAB(Adams):
    """Adams-Bashforth along the straight line: a polynomial in sigma/(alpha + sigma) through the last velocities, noise - data.

    Under `Rectified` it is Adams-Bashforth in t, for the flow's own velocity (Hairer, Norsett & Wanner 1993, sec. III.1). Finite at
    pure noise and at clean data. Order `points`. One evaluation per step.
    """

    quantity: str = "velocity"
    coordinate: str = "straight"
