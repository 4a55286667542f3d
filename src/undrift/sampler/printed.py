"""Endings as the papers print them: noise in the last step too, and annealed Langevin that stops at its last level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from undrift.argument import instance
from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.base import Sampler, State
from undrift.sampler.langevin import Hold, PredictorCorrector
from undrift.sampler.sde import EulerMaruyama


@dataclass(frozen=True)
class Printed(Sampler):
    """Another sampler whose last step is one like every other, in place of the denoised mean: its samples keep that step's noise.

    So Algorithm 2 of 003 and the sampler of 000 end (`EulerMaruyama`: noise of standard deviation `g sqrt(dt)`), predictor-corrector
    (003 Algorithm 3: with the predictor), and annealed Langevin (Song & Ermon 2019, Algorithm 1; 003 Algorithm 1: after the moves at
    its last level, whose noise is left). For a look at the grain: the denoised mean is better and costs at most one evaluation more.

    Args:
        sampler: One that draws fresh noise.

    Raises:
        ValueError: a sampler without fresh noise. It has no other ending than the end of its flow.
    """

    stochastic: ClassVar[bool] = True
    sampler: Sampler = field(default_factory=EulerMaruyama)

    @property
    def order(self) -> int:  # type: ignore[override]
        return self.sampler.order

    def __post_init__(self) -> None:
        instance(self.sampler, "sampler", Sampler, "give a sampler, such as undrift.EulerMaruyama()")
        if not self.sampler.stochastic:
            raise ValueError(
                f"{type(self.sampler).__name__} draws no fresh noise, so its last step has none; give euler-maruyama, reverse-diffusion, "
                "predictor-corrector or annealed-langevin."
            )

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return self.sampler.step(denoiser, state, s, noise)

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return _last(self.sampler, denoiser, state, s, noise)

    def evaluations(self, steps: int) -> int | None:
        cost = self.sampler.evaluations(steps)
        silent = isinstance(self.sampler, PredictorCorrector) and isinstance(self.sampler.predictor, Hold)
        return cost - 1 if cost is not None and silent else cost


def _last(sampler: Sampler, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
    """The last step. A corrector that comes after the predictor would move at a level without noise, where there is nothing to do."""
    if not isinstance(sampler, PredictorCorrector):
        return sampler.step(denoiser, state, s, noise)
    if sampler.corrector_first:
        return sampler.step(denoiser, state, s, noise)
    return _last(sampler.predictor, denoiser, state, s, noise.fold("predict"))
