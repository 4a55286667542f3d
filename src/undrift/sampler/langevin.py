"""Langevin dynamics: correctors, annealed Langevin, predictor-corrector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State
from undrift.sampler.sde import ReverseDiffusion


@dataclass(frozen=True)
class Langevin:
    """One corrector move at fixed t: `x + delta score + sqrt(2 delta) z` with `delta = 2 (snr sigma)^2`.

    The law p_t is left as it is up to a bias of order snr^2. The papers' step epsilon_i = epsilon sigma_i^2/sigma_L^2 with
    `x + epsilon_i/2 score + sqrt(epsilon_i) z` is `snr = sqrt(epsilon)/(2 sigma_L)` (Song & Ermon 2019, Algorithm 1; 002, 003
    Algorithm 1). Song et al. (2021, Algorithms 4 and 5) have `snr |z|/|score|` in place of snr sigma, the ratio of the two
    terms' norms being snr; the two agree for images, where |score| is near |z|/sigma, and this one needs neither the batch's
    mean nor a score away from zero.
    """

    snr: float = 0.16

    def __post_init__(self) -> None:
        if not 0 < self.snr <= 0.7:
            raise ValueError(f"`snr` must be in (0, 0.7] (above that Langevin overshoots), got {self.snr}.")

    def __call__(self, denoiser: AnyDenoiser, state: State, noise: Noise) -> State:
        sigma = denoiser.process.sigma(state.t)
        data, eps = denoiser(state.x, state.t)
        x = state.x - 2 * self.snr**2 * sigma * eps + 2 * self.snr * sigma * noise.normal(state.x)
        return replace(state, x=x, data=data)


@dataclass(frozen=True)
class Hold(Sampler):
    """The predictor that only moves the clock. No evaluation but the last."""

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return state.next(state.x, s, state.data)

    def evaluations(self, steps: int) -> int:
        return 1


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A sampler for the step and Langevin moves at the level it arrives at, or leaves (`corrector_first`).

    The papers print both orders: after the predictor in the text of 003, before it in its Algorithm 3 and in Song et al.
    2021's code. Order: the predictor's. Evaluations: the predictor's plus `corrections` for each step with a correction
    (all but the last, or with `corrector_first` all).
    """

    stochastic: ClassVar[bool] = True
    predictor: Sampler = field(default_factory=ReverseDiffusion)
    corrector: Langevin = field(default_factory=Langevin)
    corrections: int = 1
    corrector_first: bool = False

    def __post_init__(self) -> None:
        if self.corrections < 1:
            raise ValueError(f"`corrections` must be at least 1, got {self.corrections}.")

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        if self.corrector_first:
            state = self._correct(denoiser, state, noise)
        state = self.predictor.step(denoiser, state, s, noise.fold("predict"))
        return state if self.corrector_first else self._correct(denoiser, state, noise)

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        if self.corrector_first:
            state = self._correct(denoiser, state, noise)
        return self.predictor.finish(denoiser, state, s, noise.fold("predict"))

    def evaluations(self, steps: int) -> int:
        return self.predictor.evaluations(steps) + self.corrections * (steps if self.corrector_first else steps - 1)

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
