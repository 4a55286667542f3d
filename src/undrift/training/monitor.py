"""Is it learning? The loss on fixed examples, times and noise.

They are the same at every look, so that nothing but the weights moves it.

A look is a record of the log, before the first step and then by default every 250:

    held_out, held_out_error    the loss of the averaged weights on examples that are not trained on, and its standard error
    held_out_raw                that of the raw weights
    trained_on                  that of the averaged weights on as many examples that are trained on
    class_gain, ..._error       how much better held-out examples are denoised with their class than without
    levels                      [from log-SNR, to, examples, held out, held out raw, trained on], from noise to data

    examples                    how many of each, where the network is so slow that they are fewer than asked for

All with the class given, where there is one; the batch loss of training leaves some out. The first record holds the floors, the
losses of exact denoisers on the same questions:

    memoriser_trained_on, memoriser_held_out    the empirical denoiser of the training data: where a network ends that remembers
                                                everything. It bounds the loss on trained examples from below; on held-out ones it
                                                is what remembering is worth, and a network that has understood lies far below it.
    law                                         the law itself, where it is known: no denoiser beats it on held-out examples
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undrift.condition import null_like, rows
from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.denoiser import AnyDenoiser
from undrift.exact import Empirical
from undrift.noise import Noise
from undrift.objective import DenoisingScoreMatching, Distillation
from undrift.process import expand
from undrift.training.trainer import Trainer

EDGES = (-math.inf, -4.0, 0.0, 4.0, math.inf)  # of the noise levels that are told apart, in log-SNR
LONG, FEWEST = 20.0, 32  # seconds of a look, above which it is of fewer examples; and the fewest of these
PASSES = 5  # of the network over the examples in a look
MOST_POINTS = 2**26  # entries of the training data up to which the empirical denoiser is asked: 0.5 GB


class Questions(NamedTuple):
    """Clean examples `(n, *D)`, what the network is told of them, and their noise."""

    x0: Tensor
    cond: Any
    noise: Noise


class _Seen(Exception):
    """The network was told its noise level."""


class Monitor:
    """Looks at a trainer's weights.

    Args:
        trainer: Whose.
        held_out: Examples that it does not see.
        examples: How many to ask of each kind; default: the recipe's, or fewer where such a look would take longer than `LONG`.
    """

    def __init__(self, trainer: Trainer, held_out: Dataset, examples: int | None = None) -> None:
        self.trainer, self.settings = trainer, trainer.settings
        self.examples = examples or self._affordable(held_out)
        self.early = self.examples < self.settings.monitor_examples  # slow: then the first looks come sooner
        self.held_out, self.trained_on = self._questions(held_out), self._questions(trainer.data)
        self._levels: list[Tensor] = []

    def due(self, step: int) -> bool:
        """Whether to look after this step: every `monitor_every`, and whenever a state is saved, so that the best can be known."""
        every, saved = self.settings.monitor_every, self.settings.checkpoint_every
        soon = self.early and step in {every // k for k in (2, 4, 8, 16)} - {0}
        return bool(every) and (step % every == 0 or step % saved == 0 or soon)

    def _affordable(self, held_out: Dataset) -> int:
        """How many examples a look may be of: a look is a small share of the training, and never minutes of silence before it."""
        most, few, seconds = self.settings.monitor_examples, min(len(held_out), 4), 0.0
        with self.trainer.holding():
            for i in range(2):  # the first one is slower
                noise = Noise(range(few)).fold("monitor", self.settings.seed, "timed", i)
                asked = Questions(*self.trainer.examples(held_out, torch.arange(few), noise), noise)
                start = time.perf_counter()
                self._loss(asked, self.trainer.denoiser)
                seconds = time.perf_counter() - start
        seconds = self.trainer.processes.broadcast(seconds)
        while most > FEWEST and PASSES * most * seconds / few > LONG:
            most //= 2
        return most

    def look(self) -> dict[str, Any]:
        """The record of the weights as they are now."""
        start, trainer = time.perf_counter(), self.trainer
        with trainer.holding():
            raw = self.losses(self.held_out)
        with trainer.holding(trainer.ema):
            held, known = self.losses(self.held_out), self.losses(self.trained_on)
            record: dict[str, Any] = {
                "step": trainer.progress.step, "held_out": number(held.mean()), "held_out_error": number(_error(held)),
                "held_out_raw": number(raw.mean()), "trained_on": number(known.mean()),
            }  # fmt: skip
            if self.early:
                record["examples"] = self.examples
            if self.classes:
                gain = self.losses(self.held_out._replace(cond=null_like(self.held_out.cond))) - held
                record |= {"class_gain": number(gain.mean()), "class_gain_error": number(_error(gain))}
        record["levels"] = [
            [low, high, int(here.sum()), number(held[here].mean()), number(raw[here].mean()), number(known[there].mean())]
            for low, high, here, there in self.bins()
        ]
        return {**record, "clock": {"monitor_seconds": round(time.perf_counter() - start, 2)}}

    def floor(self) -> dict[str, Any] | None:
        """The record with the floors, or None where no exact denoiser is at hand."""
        trainer, data = self.trainer, self.trainer.data
        plain = trainer.model.parts.get("condition") is None and type(trainer.objective) is DenoisingScoreMatching
        if not plain:
            return None
        floors = {}
        if len(data) * data.spec.size <= MOST_POINTS:
            labels = None if data.labels is None else torch.from_numpy(data.labels)
            if labels is None or len(set(labels.tolist())) == int(labels.max()) + 1:
                points = data.batch(torch.arange(len(data)))[0].to(trainer.device)
                memoriser = Outputs(Empirical(points, trainer.denoiser.process, labels), trainer)
                for name, asked in (("trained_on", self.trained_on), ("held_out", self.held_out)):
                    floors[f"memoriser_{name}"] = number(self.losses(asked, memoriser).mean())
        if trainer.law is not None:
            floors["law"] = number(self.losses(self.held_out, Outputs(trainer.law, trainer)).mean())
        return {"step": trainer.progress.step, "floor": floors} if floors else None

    @property
    def classes(self) -> bool:
        """Whether the network is told classes, and now and then not, and the class is no part of the answer as it is of a teacher's."""
        asked = isinstance(self.held_out.cond, Tensor) and self.settings.label_dropout > 0
        return asked and not isinstance(self.trainer.objective, Distillation)

    def losses(self, asked: Questions, denoiser: Any = None) -> Tensor:
        """The loss of each question, `(n,)` float64 on the CPU."""
        denoiser = self.trainer.denoiser if denoiser is None else denoiser
        return self._each(asked, lambda some: self._loss(some, denoiser).double().cpu())

    def _loss(self, asked: Questions, denoiser: Any) -> Tensor:
        """The loss of a few questions, where they are."""
        trainer = self.trainer
        # Score matching without a target differentiates the network in its input; the others need no gradient.
        with torch.set_grad_enabled(getattr(trainer.objective, "second_order", True)), trainer.precision.autocast():
            loss: Tensor = trainer.objective(denoiser, asked.x0, asked.noise, asked.cond)
        return loss.detach()

    def _each(self, asked: Questions, answer: Callable[[Questions], Tensor]) -> Tensor:
        """The answers to all questions, in batches of the training's size, each shared out over the processes."""
        found = []
        for some in torch.split(torch.arange(len(asked.x0)), self.settings.batch_size):

            def job(mine: slice, some: Tensor = some) -> Tensor:
                part = some[mine]
                return answer(Questions(asked.x0[part], rows(asked.cond, part), asked.noise[part]))

            found.append(self.trainer.processes.shared(len(some), job))
        return torch.cat(found)

    def bins(self) -> list[tuple[float | None, float | None, Tensor, Tensor]]:
        """`(low, high, rows of held_out, rows of trained_on)` of the noise levels that are asked; None for no limit."""
        if not self._levels:
            self._levels = [self._level_of(self.held_out), self._level_of(self.trained_on)]
        found = []
        for low, high in pairwise(EDGES):
            here, there = ((level >= low) & (level < high) for level in self._levels)
            if bool(here.any()) and bool(there.any()):
                found.append((low if low > EDGES[0] else None, high if high < EDGES[-1] else None, here, there))
        return found

    def _level_of(self, asked: Questions) -> Tensor:
        """The log-SNR of each question `(n,)`: what the network is told of it."""
        seen: list[Tensor] = []

        def level(some: Questions) -> Tensor:
            seen.clear()
            with suppress(_Seen):
                self._loss(some, self.trainer.denoiser)
            return -8 * seen[0].double().cpu()

        def look(module: Any, given: tuple[Any, ...]) -> None:
            seen.append(given[1].detach())
            raise _Seen  # what the network would answer is not asked

        hook = self.trainer.denoiser.net.register_forward_pre_hook(look)
        try:
            return self._each(asked, level)
        finally:
            hook.remove()

    def _questions(self, data: Dataset) -> Questions:
        """A random choice of examples, with noise: functions of the seed."""
        n = min(len(data), self.examples)
        chosen = torch.from_numpy(stream(self.settings.seed, "monitor").permutation(len(data))[:n].copy())
        noise = Noise(range(n)).fold("monitor", self.settings.seed)
        return Questions(*self.trainer.examples(data, chosen, noise), noise)


class Outputs:
    """An exact denoiser that answers as the trainer's network would: in its target, which is what the loss compares."""

    def __init__(self, denoiser: AnyDenoiser, trainer: Trainer) -> None:
        self.denoiser, self.process, self.target = denoiser, denoiser.process, trainer.denoiser.target

    def output(self, x: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """`a data + b noise`, `(B, *D)`."""
        (a, b), (data, noise) = self.target(self.process, t), self.denoiser(x, t, cond)
        return expand(a, x) * data + expand(b, x) * noise


def number(value: Tensor | float) -> float | None:
    """A figure for the log: rounded, None if it is not finite (JSON has no NaN)."""
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _error(values: Tensor) -> Tensor | float:
    return values.std() / math.sqrt(len(values)) if len(values) > 1 else math.nan
