"""What a sampler is: a pure step, and one loop.

A sampler moves a `State` from its time to a less noisy one, using only the process and the denoiser. The loop is a
generator, so progress, previews, trajectories and early stop are the caller's `for`:

    for state in sampler(denoiser, start, times, noise):
        show(state.data)

Three rules hold for all of them. Every quantity belongs to one sample, never to the batch. Any strictly decreasing grid is
legal. And arriving at `t_min` means arriving at data: the last step returns the denoised mean `E[x_0 | x_t]` and adds no
noise, for the price of one evaluation (the "denoising step" of Jolicoeur-Martineau et al. 2021, sec. 3.1). So no sampler
ever divides by sigma = 0. (`Adaptive`, which promises a tolerance, first follows the flow to where that step leaves out less.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.argument import instance, said, tensor
from undrift.denoiser import AnyDenoiser, check_denoiser
from undrift.noise import Noise
from undrift.process.base import remembering

PURE_NOISE = 1e-6  # alpha/sigma, in units of the data, below which a state is pure noise and drift and diffusion are useless


@dataclass(frozen=True)
class State:
    """Where a sampler is. Plain data: pickle it and go on later, or change it and fork.

    Attributes:
        x: `(B, *D)` samples at time `t`.
        t: `()` float64, on the CPU, so that comparing times never waits for a GPU.
        index: Steps taken; also the address of the next step's noise.
        data: The latest `E[x_0 | x_t]`, for previews.
        memory: Whatever a multistep sampler wants to see at its next step.
    """

    x: Tensor
    t: Tensor
    index: int = 0
    data: Tensor | None = None
    memory: Any = None

    def next(self, x: Tensor, t: Tensor, data: Tensor | None = None, memory: Any = None) -> State:
        """The state one step on."""
        return State(x, t, self.index + 1, data, memory)


@dataclass(frozen=True)
class Sampler:
    """Base of all samplers. A new one gives `step`, its `order`, and `evaluations` if a step costs more than one."""

    order: ClassVar[int] = 1  # global error ~ step^order (weak error for stochastic samplers)
    stochastic: ClassVar[bool] = False

    def step(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        """Move `state` to the less noisy time `s` > t_min, drawing only from `noise`, which is this step's own."""
        raise NotImplementedError

    def finish(self, denoiser: AnyDenoiser, state: State, s: Tensor, noise: Noise) -> State:
        """The last step, to `s` = t_min: the denoised mean."""
        data = denoiser(state.x, state.t).data
        return state.next(data, s, data)

    def evaluations(self, steps: int) -> int | None:
        """Calls of the denoiser on a grid of `steps` steps that ends at t_min; None: as many as it takes (`Adaptive`)."""
        return steps

    def steps_within(self, evaluations: int) -> int:
        """The largest number of steps that costs at most so many evaluations; 0 if not even one step does."""
        steps = 0
        while (cost := self.evaluations(steps + 1)) is not None and cost <= evaluations and steps < evaluations:
            steps += 1
        return steps

    def __call__(self, denoiser: AnyDenoiser, state: State, times: Tensor, noise: Noise | None = None) -> Iterator[State]:
        """Yield the state after each step of the grid.

        Args:
            denoiser: Any denoiser, its condition bound.
            state: Where to start: usually `State(x, times[0])`; with `index > 0` the run goes on from there.
            times: `(n + 1,)` decreasing times. Ends at data if its last time is the process's `t_min`, else at that time.
            noise: One address per sample. Needed by stochastic samplers only.

        Raises:
            ValueError: times that do not decrease or leave the process's interval, a state that is not on the grid,
                noise missing or of another batch size.
        """
        times = self._check(denoiser, state, times, noise)
        noise = Noise(range(len(state.x))) if noise is None else noise
        return self._run(denoiser, state, times, noise)

    @torch.no_grad()
    def _run(self, denoiser: AnyDenoiser, state: State, times: Tensor, noise: Noise) -> Iterator[State]:
        for s in times[state.index + 1 :]:
            move = self.finish if s <= denoiser.process.t_min else self.step
            with remembering():
                state = move(denoiser, state, s, noise.fold("step", state.index))
            if not isinstance(state, State):
                raise TypeError(
                    f"{type(self).__name__}.{move.__name__} returned {type(state).__name__}, but must return a State: "
                    "`return state.next(x, s, data)`."
                )
            yield state

    def _check(self, denoiser: AnyDenoiser, state: State, times: Tensor, noise: Noise | None) -> Tensor:
        check_denoiser(denoiser)
        instance(state, "state", State, "give a State, such as State(x, times[0])")
        process, times = denoiser.process, tensor(times, "times", torch.float64).cpu()
        if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
            raise ValueError("`times` must be at least two times that decrease from noise to data.")
        if times[0] > process.t_max or times[-1] < process.t_min:
            raise ValueError(
                f"`times` run from {times[0]:g} to {times[-1]:g}, outside [{process.t_min:g}, {process.t_max:g}] of {process}."
            )
        if not 0 <= state.index < len(times) or state.t != times[state.index]:
            raise ValueError(f"the state is at t = {state.t:g}, index {state.index}, which is not on this grid.")
        if noise is None and self.stochastic:
            raise ValueError(f"{type(self).__name__} draws random numbers: pass `noise`, one address per sample.")
        if noise is not None and not hasattr(noise, "fold"):
            raise TypeError(f"`noise` is {said(noise)}: give a Noise, one address per sample.")
        if noise is not None and len(noise) != len(state.x):
            raise ValueError(
                f"`x` has batch size {len(state.x)} but `noise` carries {len(noise)} addresses. "
                "Pass `noise[rows]` for a part of a batch."
            )
        return times
