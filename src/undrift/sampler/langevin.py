"""Langevin dynamics: correctors, annealed Langevin, predictor-corrector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.argument import function, instance, real, whole
from undrift.denoiser import AnyDenoiser, Counted, Given
from undrift.noise import Noise
from undrift.process import expand
from undrift.sampler.base import Sampler, State
from undrift.sampler.sde import ReverseDiffusion


@dataclass(frozen=True)
class Langevin:
    """One corrector move at fixed t: `x + delta score + sqrt(2 delta) z` with `delta = 2 (snr sigma)^2`.

    The law p_t is left as it is up to a bias of order snr^2. The papers' step epsilon_i = epsilon sigma_i^2/sigma_L^2 with
    `x + epsilon_i/2 score + sqrt(epsilon_i) z` is `snr = sqrt(epsilon)/(2 sigma_L)` (Song & Ermon 2019, Algorithm 1; 002, 003
    Algorithm 1). Song et al. (2021, Algorithms 4 and 5) have `snr |z|/|score|` in place of snr sigma, the ratio of the two
    terms' norms being snr; the two agree for images, where |score| is near |z|/sigma, and this one needs neither the batch's
    mean nor a score away from zero. `measured=True` is theirs, with each sample's own norms (and delta at most sigma^2, for
    samples whose score is near zero): then delta depends on the sample, so the law is left with a bias of order 1/d as well.
    """

    cost: ClassVar[int] = 1  # evaluations
    snr: float = 0.16
    measured: bool = False

    def __post_init__(self) -> None:
        if not 0 < real(self.snr, "snr", finite=False) <= 0.7:
            raise ValueError(f"`snr` must be in (0, 0.7] (above that Langevin overshoots), got {self.snr}.")

    def __call__(self, denoiser: AnyDenoiser, state: State, noise: Noise) -> State:
        sigma = denoiser.process.sigma(state.t)
        data, eps = denoiser(state.x, state.t)
        z = noise.normal(state.x)
        snr: float | Tensor = self.snr
        if self.measured:
            norms = [torch.linalg.vector_norm(v.flatten(1), dim=1) for v in (z, eps)]
            snr = expand((self.snr * norms[0] / norms[1]).clamp(max=0.5**0.5), z)
        return replace(state, x=state.x - 2 * snr**2 * sigma * eps + 2 * snr * sigma * z, data=data)


@dataclass(frozen=True)
class Metropolis(Langevin):
    """The Langevin move with an accept-reject step, where log p_t is known: leaves p_t exactly as it is (MALA).

    A move from x to x' is accepted with probability `min(1, p(x') q(x | x') / (p(x) q(x' | x)))`, `q(x' | x) = N(x + delta
    score(x), 2 delta I)`, for each sample on its own (Roberts & Tweedie 1996, sec. 1.4). Two evaluations per move.

    Args:
        log_prob: `(x, t) -> (B,)` log-density up to a constant, float64. Default: the denoiser's own `log_prob`.

    Raises:
        ValueError: neither given, or `measured`, whose step the rule does not cover.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor] | None = None
    cost: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.log_prob is not None:
            function(self.log_prob, "log_prob", "give a function (x, t) -> (B,)")
        if self.measured:
            raise ValueError("`Metropolis` needs a step that is the same there and back: leave out `measured`.")

    def __call__(self, denoiser: AnyDenoiser, state: State, noise: Noise) -> State:
        log_prob = self.log_prob or _log_prob_of(denoiser)
        x, t = state.x, state.t
        delta = float(2 * (self.snr * denoiser.process.sigma(t)) ** 2)
        data, eps = denoiser(x, t)
        pull = -delta / float(denoiser.process.sigma(t))  # delta score = pull noise
        new = x + pull * eps + math.sqrt(2 * delta) * noise.normal(x)
        new_data, new_eps = denoiser(new, t)

        def log_move(start: Tensor, end: Tensor, eps: Tensor) -> Tensor:
            return -(end - start - pull * eps).double().square().flatten(1).sum(1) / (4 * delta)

        there, here = log_prob(new, t), log_prob(x, t)
        if there.shape != here.shape or here.shape != (len(x),):
            raise ValueError(f"`log_prob` must return ({len(x)},), one value for each sample, got {tuple(here.shape)}.")
        ratio = there - here + log_move(new, x, new_eps) - log_move(x, new, eps)
        accept = expand(noise.fold("accept").uniform(ratio).log() < ratio, x).bool()
        return replace(state, x=torch.where(accept, new, x), data=torch.where(accept, new_data, data))


def _log_prob_of(denoiser: AnyDenoiser) -> Callable[[Tensor, Tensor], Tensor]:
    """The density that goes with a denoiser, through what binds a condition or counts."""
    law: Any = denoiser
    options = {}
    while isinstance(law, (Given, Counted)):
        if isinstance(law, Given):
            options["cond"] = law.cond
        law = law.denoiser
    if not hasattr(law, "log_prob"):
        raise ValueError(f"this {type(law).__name__} has no `log_prob`: give one to `Metropolis`, or use `Langevin`.")
    return lambda x, t: law.log_prob(x, t, **options)


@dataclass(frozen=True)
class Hold(Sampler):
    """The predictor that only moves the clock. No evaluation but the last."""

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return state.next(state.x, s, state.data)

    def evaluations(self, steps: int) -> int | None:
        return 1


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A sampler for the step and Langevin moves at the level it arrives at, or leaves (`corrector_first`).

    The papers print both orders: after the predictor in the text of 003, before it in its Algorithm 3 and in Song et al.
    2021's code. Order: the predictor's. Evaluations: the predictor's plus `corrections` (twice as many for `Metropolis`) for each step with a correction
    (all but the last, or with `corrector_first` all).
    """

    stochastic: ClassVar[bool] = True
    predictor: Sampler = field(default_factory=ReverseDiffusion)
    corrector: Langevin = field(default_factory=Langevin)
    corrections: int = 1
    corrector_first: bool = False

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.predictor.order

    def __post_init__(self) -> None:
        instance(self.predictor, "predictor", Sampler, "give a sampler, such as undrift.ReverseDiffusion()")
        instance(self.corrector, "corrector", Langevin, "give a move, such as undrift.Langevin()")
        whole(self.corrections, "corrections", 1)

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        if self.corrector_first:
            state = self._correct(denoiser, state, noise)
        state = self.predictor.step(denoiser, state, s, noise.fold("predict"))
        return state if self.corrector_first else self._correct(denoiser, state, noise)

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        if self.corrector_first:
            state = self._correct(denoiser, state, noise)
        return self.predictor.finish(denoiser, state, s, noise.fold("predict"))

    def evaluations(self, steps: int) -> int | None:
        cost = self.predictor.evaluations(steps)
        moves = self.corrections * (steps if self.corrector_first else steps - 1)
        return None if cost is None else cost + self.corrector.cost * moves

    def _correct(self, denoiser: AnyDenoiser, state: State, noise: Noise) -> State:
        memory = state.memory
        for j in range(self.corrections):
            state = self.corrector(denoiser, state, noise.fold("correct", j))
        return replace(state, memory=memory)


@dataclass(frozen=True)
class AnnealedLangevin(PredictorCorrector):
    """Annealed Langevin: `corrections` Langevin moves at every level of the grid, then the denoised mean.

    SMLD's sampler on `SMLD(...).levels` (Song & Ermon 2019, Algorithm 1), with the final denoising step that it lacks.
    It follows p_t only as closely as the levels are dense and the moves many. Evaluations: `corrections * steps + 1`.
    """

    predictor: Sampler = field(default_factory=Hold)
    corrections: int = 100
    corrector_first: bool = True
