"""A cheap look at quality now and then: a few samples of the averaged weights against the training data.

The energy distance in model space, at guidance scale 1, beside what as many held-out examples get; and, of images whose judge is at
hand (`undrift evaluate` and `undrift demo` leave one in the run), the share that it recognises as the class asked for. The same noise
and the same classes every time.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.error import UndriftError
from undrift.metrics.criterion import LEAST, of_data
from undrift.metrics.recognition import cached_judge
from undrift.metrics.reference import Reference
from undrift.training.monitor import number
from undrift.training.trainer import Trainer

SAMPLES = 128


class Quality:
    """Measures a trainer's averaged weights.

    Args:
        trainer: Whose.
        held_out: Examples that it does not see.
    """

    def __init__(self, trainer: Trainer, held_out: Dataset) -> None:
        self.trainer, self.held_out = trainer, held_out

    def measure(self) -> dict[str, Any] | None:
        """A record for the log, or None where samples alone cannot be judged: models that are told texts or pictures, few data."""
        start, trainer, data = time.perf_counter(), self.trainer, self.trainer.data
        if trainer.model.parts.get("condition") is not None:
            return None
        try:
            reference = Reference(data, self.held_out, SAMPLES, trainer.settings.seed, draw="frontier", least=LEAST)
            criterion = of_data(reference)
        except UndriftError:  # too few examples to judge by
            return None
        rows = torch.from_numpy(stream(trainer.settings.seed, "quality").integers(0, len(data), SAMPLES))
        labels = None if data.labels is None else torch.from_numpy(data.labels)[rows]
        samples = trainer.averaged(lambda model: self._draw(labels))
        found = {"energy_distance": number(criterion.quality(samples).value), "held_out_examples": number(criterion.floor.value)}
        judge = cached_judge(data, self.held_out, trainer.folder / "classifier.safetensors") if labels is not None else None
        if judge is not None and labels is not None:
            found["recognised"] = number((judge.classify(samples) == labels).double().mean())
        clock = {"quality_seconds": round(time.perf_counter() - start, 2)}
        return {"step": trainer.progress.step, "quality": found, "clock": clock}

    def _draw(self, labels: torch.Tensor | None) -> torch.Tensor:
        model = self.trainer.model
        if labels is None:
            return model.draw(SAMPLES, seed=0).cpu()
        return model.draw(SAMPLES, labels.tolist(), scale=1.0, seed=0).cpu()
