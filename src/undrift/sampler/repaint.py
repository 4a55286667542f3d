"""RePaint: every stretch of the way is walked several times, with noise put back in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from undrift.argument import instance, whole
from undrift.denoiser import AnyDenoiser
from undrift.noise import Noise
from undrift.sampler.ancestral import Ancestral
from undrift.sampler.base import Sampler, State


@dataclass(frozen=True)
class RePaint(Sampler):
    """Go down `jump` steps, jump back up by the exact forward transition, and go down again, `resamplings` times in all.

    Under `Known` this is what makes the missing entries fit the known ones (Lugmayr et al. 2022, Algorithm 1): down and up is
    a Gibbs move whose stationary law, with the exact reverse step, is that of the missing entries given the known ones at that
    level, because noise that is put on the ones knows nothing of the others. Without `Known` it changes nothing but the price.
    The last step, to data, is taken once. States are yielded once per stretch.

    Args:
        sampler: Takes the steps. Repeating them repeats their error, so the reverse variance matters: the default's "beta" is
            0.61 of a true 0.6 where "tilde" is 0.55 (the example in `undrift.imputation.known`, 50 steps, 10 resamplings).
        jump: Steps in a stretch. In that example 1, 5 and 10 leave the mean off by 0.07, 0.12 and 0.17 at one price;
            the paper has 10 of 250 for photographs.
        resamplings: How often each stretch is walked; 1 is the sampler itself.

    Raises:
        ValueError: `jump` or `resamplings` below 1.
    """

    stochastic: ClassVar[bool] = True
    sampler: Sampler = field(default_factory=lambda: Ancestral(variance="beta"))
    jump: int = 1
    resamplings: int = 10

    def __post_init__(self) -> None:
        instance(self.sampler, "sampler", Sampler, "give a sampler, such as undrift.Ancestral()")
        whole(self.jump, "jump", 1)
        whole(self.resamplings, "resamplings", 1)

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return self._stretch(denoiser, state, s[None], noise)

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        return self.sampler.finish(denoiser, state, s, noise)

    def evaluations(self, steps: int) -> int | None:
        once, whole = self.sampler.evaluations(1), self.sampler.evaluations(steps)
        return None if once is None or whole is None else self.resamplings * (whole - once) + once

    @torch.no_grad()
    def _run(self, denoiser: AnyDenoiser, state: State, times: Tensor, noise: Noise) -> Iterator[State]:
        last = len(times) - 1
        turn = last - 1 if times[last] <= denoiser.process.t_min else last
        while state.index < turn:
            down = times[state.index + 1 : min(state.index + self.jump, turn) + 1]
            state = self._stretch(denoiser, state, down, noise)
            yield state
        if turn < last:
            yield self.finish(denoiser, state, times[last], noise.fold("step", turn))

    def _stretch(self, denoiser: AnyDenoiser, start: State, down: Tensor, noise: Noise) -> State:
        state = start
        for k in range(self.resamplings):
            at = noise.fold("again", k) if k else noise
            if k:
                eps = at.fold("back", start.index).normal(state.x)
                state = State(denoiser.process.transition(state.x, state.t, start.t, eps), start.t, start.index)
            for s in down:
                state = self.sampler.step(denoiser, state, s, at.fold("step", state.index))
        return state
