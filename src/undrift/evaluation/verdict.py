"""One verdict on a run: recognition by class, and how near the samples come to the training data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.data import Dataset, Spec, as_trained, load_split
from undrift.error import UndriftError
from undrift.metrics.neighbours import nearest_neighbours
from undrift.metrics.recognition import train_judge
from undrift.model import Model
from undrift.recipe.recipe import read_recipe


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        asked: `(N,)` class asked of each sample, -1 for none.
        seen: `(N,)` class that the judge sees, or None where the data are no labelled pictures.
        classes: Their names.
        accuracy: The judge's own on `held_out` real examples.
        similarity: `(N,)` cosine of each sample to its nearest training example.
        floor: The same for real held-out examples.
        neighbours: `(N,)` rows of those training examples.
        samples: `(N, *shape)` model space.
        seconds: Spent drawing the samples.
    """

    asked: Tensor
    seen: Tensor | None
    classes: tuple[str, ...]
    accuracy: float
    held_out: int
    similarity: Tensor
    floor: Tensor
    neighbours: Tensor
    samples: Tensor
    seconds: float

    @property
    def recognised(self) -> float:
        """Share of samples seen as the class that was asked for."""
        if self.seen is None:
            raise ValueError("nothing was asked for: the data are no labelled pictures.")
        return float((self.asked == self.seen).double().mean())

    def lines(self) -> list[str]:
        """The verdict in words."""
        return [
            *self._recognition(),
            f"nearest training example (cosine): median {self.similarity.median():.3f}, most similar {self.similarity.max():.3f}",
            f"  real held-out examples: median {self.floor.median():.3f}, most similar {self.floor.max():.3f}"
            " (samples well above these would be copies)",
            f"drawn in {self.seconds:.1f} s",
        ]

    def _recognition(self) -> list[str]:
        if self.seen is None:
            return [
                "no labelled pictures of at least 8 x 8, so nothing to recognise; undrift frontier measures a distance to the data"
            ]
        n = len(self.asked)
        by_class = [(self.seen[self.asked == k] == k).double().mean().item() for k in range(len(self.classes))]
        each = "  ".join(
            f"{name}: {100 * share:.0f}" for name, share in zip(self.classes, by_class, strict=True) if share == share
        )
        return [
            f"recognised as the class asked for: {100 * self.recognised:.1f} % of {n} samples",
            f"  by a classifier that is right on {100 * self.accuracy:.1f} % of {self.held_out} held-out real examples",
            f"  by class, in %: {each}",
        ]


def judge_run(model: Model, folder: Path, n: int, data_dir: str | None = None, **options: Any) -> Verdict:
    """Draw `n` samples, every class in turn, and judge them; without classes only by how near they come to the training data.

    Args:
        model: As loaded from `folder`.
        folder: The run; keeps the judge in `classifier.safetensors`.
        n: How many samples.
        data_dir: Where the data are, if no longer where they were.
        options: For `Model.draw`.

    Raises:
        UndriftError: the data cannot be read.
    """
    train, held_out = data_of_model(model, folder, data_dir)
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    classes = len(model.spec.classes)
    asked = torch.arange(n) % classes if classes else torch.full((n,), -1)
    start = time.perf_counter()
    samples = model.draw(n, asked.tolist() if classes else None, **options)
    seconds = time.perf_counter() - start
    judge = train_judge(train, held_out, cache=folder / "classifier.safetensors") if recognisable(model.spec) else None
    clean = model.spec.to_model(model.spec.from_model(samples))
    similarity, rows = nearest_neighbours(clean, train)
    some = torch.linspace(0, len(held_out) - 1, min(len(held_out), 1000), dtype=torch.float32).long()
    floor, _ = nearest_neighbours(held_out.batch(some)[0], train)
    seen, accuracy, known = (None, 0.0, 0) if judge is None else (judge.classify(clean), judge.accuracy, judge.held_out)
    return Verdict(asked, seen, model.spec.classes, accuracy, known, similarity, floor, rows, clean, seconds)


def recognisable(spec: Spec) -> bool:
    """Whether a classifier can be trained to judge samples by: pictures of at least 8 x 8, of two classes or more."""
    return len(spec.classes) > 1 and len(spec.shape) == 3 and min(spec.shape[1:]) >= 8


def data_of(folder: Path, data_dir: str | None = None) -> tuple[Dataset, Dataset]:
    """Training and held-out data of a run, as its recipe says."""
    recipe = read_recipe(folder / "config.yaml")
    options = {k: v for k, v in recipe.data.items() if k != "kind"}
    return load_split(recipe.data.get("kind", ""), data_dir or recipe.data_dir, recipe.held_out, recipe.seed, **options)


def data_of_model(model: Model, folder: Path, data_dir: str | None = None) -> tuple[Dataset, Dataset]:
    """Training and held-out data of a run.

    Raises:
        UndriftError: they cannot be read, or are not what the model was trained on.
    """
    train, held_out = as_trained(*data_of(folder, data_dir), model.trained.get("data_hash"))
    if train.spec.classes != model.spec.classes or train.spec.shape != model.spec.shape:
        raise UndriftError(f"{train.name} has other shapes or classes than the model was trained on; give its own --data-dir")
    if model.trained.get("data_hash", train.content_hash()) != train.content_hash():
        raise UndriftError(f"{train.name} is not what the model was trained on; give its own --data-dir")
    return train, held_out
