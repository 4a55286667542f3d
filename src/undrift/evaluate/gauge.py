"""Which figures there are for a kind of data, and how samples get them. One gauge serves samples, held-out data, and other runs.

The reference is the training data throughout, as in `yardstick`: a model that drew from the true law would get what held-out data get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.error import UndriftError
from undrift.evaluate import vectors
from undrift.evaluate.balance import Spread, inception_score
from undrift.evaluate.distance import Energy, Estimate, Frechet
from undrift.evaluate.features import Encoder, features, train_encoder
from undrift.evaluate.kernel import bell, cubic
from undrift.evaluate.manifold import Manifold
from undrift.evaluate.memory import Memory, by_cosine, by_distance
from undrift.evaluate.recognition import Judge, predict, train_judge

LEAST = 20  # samples, and held-out examples, below which there are no error bars
_REFERENCE, _PAIRS = 10_000, 5_000  # training examples that distances are measured to: by moments, by pairs


@dataclass(frozen=True)
class Kind:
    """What a figure is called, which way is better, and what it can and cannot see."""

    name: str
    better: Literal["lower", "higher"]
    sees: str
    most: float = math.inf  # no interval goes beyond it


KINDS = {
    "frechet": Kind("Fréchet distance", "lower", "mean and covariance of the features; nothing beyond them"),
    "kernel": Kind("kernel distance (KID) x 1000", "lower", "the first three moments of the features; fair to few samples"),
    "inception": Kind("inception score, by the data's classifier", "higher", "sure classes, all of them; not how samples look"),
    "precision": Kind("precision", "higher", "are samples where data are? nothing of what is missing"),
    "recall": Kind("recall", "higher", "are data where samples are? one outlier covers much", 1.0),
    "density": Kind("density", "higher", "as precision, but robust against real outliers; 1 for equal laws"),
    "coverage": Kind("coverage", "higher", "is every part of the data visited? nothing of bad samples", 1.0),
    "diversity": Kind("diversity within classes", "higher", "do samples of one class differ as data do? 1 is as much"),
    "energy": Kind("energy distance", "lower", "any difference of laws; in many columns chiefly that of means"),
    "mmd": Kind("MMD² x 1000, Gaussian kernel", "lower", "any difference at about the median distance of examples"),
    "sliced": Kind("sliced Wasserstein distance", "lower", "any difference that shows in projections on lines"),
    "marginal": Kind(
        "widest gap of a column (Kolmogorov-Smirnov)", "lower", "each column alone; nothing of how they hang together"
    ),
    "correlation": Kind("difference of correlations", "lower", "linear dependence of pairs of columns"),
    "told_apart": Kind("told apart by a classifier", "lower", "whatever a forest of trees finds; 0.5 is a coin"),
}


@dataclass(frozen=True)
class Gauge:
    """How samples are judged.

    Attributes:
        space: Where distances are measured, in words.
        size: How many numbers an example has there.
        samples: How many samples are measured: as many as there are real ones to compare with.
        figures: `(m, *shape)` samples in model space and `(m,)` their classes (or None) to estimates, by a key of `KINDS`.
        floor: What as many held-out examples get.
        classes: `(samples,)` theirs, or None: samples are drawn of the same ones, so that classes do not differ by chance.
        memories: All samples in model space to likenesses to training examples.
        judge: The classifier, where there is one.
        shares: Of figures that are shares of independent answers: of how many.
    """

    space: str
    size: int
    samples: int
    figures: Callable[[Tensor, Tensor | None], dict[str, Estimate]]
    floor: dict[str, Estimate]
    classes: Tensor | None
    memories: Callable[[Tensor], list[Memory]]
    judge: Judge | None
    shares: dict[str, int]


def gauge(train: Dataset, held_out: Dataset, n: int, seed: int = 0, cache: Path | None = None) -> Gauge:
    """The figures for `n` samples of these data: those of images where these are images of at least 8 x 8, else those of vectors.

    Args:
        cache: A folder to keep the trained network in.

    Raises:
        UndriftError: fewer than 20 samples, held-out or training examples.
    """
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    for count, what in ((n, f"-n {n}"), (len(held_out), f"{held_out.name}, held out"), (len(train), train.name)):
        if count < LEAST:
            raise UndriftError(f"{what}: {count} examples are too few for any error bar; {LEAST} are the least")
    samples = min(n, len(held_out), len(train))
    images = len(train.spec.shape) == 3 and min(train.spec.shape[1:]) >= 8
    return (_of_images if images else _of_vectors)(train, held_out, samples, seed, cache)


def _of_images(train: Dataset, held_out: Dataset, m: int, seed: int, cache: Path | None) -> Gauge:
    judge = _judge(train, held_out, cache)
    seer: Judge | Encoder
    if judge is not None:
        seer, space = (
            judge,
            f"features of a classifier of the training data, right on {100 * judge.accuracy:.1f} % of the held-out",
        )
    else:
        encoder = train_encoder(train, cache=None if cache is None else cache / "encoder.safetensors")
        seer, explained = encoder, encoder.explained(held_out)
        space = (
            f"features of an autoencoder of the training data, which keep {100 * explained:.0f} % of the variance of the held-out"
        )
    known, labels = pick(train, _REFERENCE, seed)
    seen = features(seer, known)
    frechet, kernel, manifold = Frechet(seen), Energy(seen[:_PAIRS], cubic), Manifold(seen[:m])
    spread = Spread(seen, labels) if labels is not None else None

    def figures(y: Tensor, classes: Tensor | None) -> dict[str, Estimate]:
        h = features(seer, y)
        found = {"frechet": frechet(h), "kernel": _thousand(kernel(h)), **manifold(h)}
        if judge is not None:
            found["inception"] = inception_score(predict(judge.classifier, y))
        if spread is not None and classes is not None:
            found["diversity"] = spread(h, classes)
        return found

    real, real_labels = pick(held_out, m, seed)
    everything, unseen = _all_features(seer, train), features(seer, real)

    def memories(y: Tensor) -> list[Memory]:
        return [by_cosine(y, real, train), by_distance("distance in features", features(seer, y), unseen, everything)]

    return Gauge(space, seen.shape[1], m, figures, figures(real, real_labels), real_labels, memories, judge, {"precision": m})


def _of_vectors(train: Dataset, held_out: Dataset, m: int, seed: int, cache: Path | None) -> Gauge:
    known, _ = pick(train, _PAIRS, seed)
    energy, mmd, sliced = Energy(known), Energy(known, bell(known)), vectors.SlicedWasserstein(known)
    size = known[0].numel()
    correlations = vectors.Correlations(known) if size > 1 else None

    def figures(y: Tensor, classes: Tensor | None) -> dict[str, Estimate]:
        found = {"energy": energy(y), "mmd": _thousand(mmd(y)), "sliced": sliced(y), "marginal": vectors.widest_gap(y, known)}
        if correlations is not None:
            found["correlation"] = correlations(y)
        if m >= 2 * LEAST:
            found["told_apart"] = vectors.told_apart(y, known[:m])[0]
        return found

    real, real_labels = pick(held_out, m, seed)
    everything = train.batch(torch.arange(len(train)))[0]

    def memories(y: Tensor) -> list[Memory]:
        return [by_distance("distance in units of the columns", y, real, everything)]

    space = "the numbers themselves, in units of the model" if train.spec.low is not None else "columns in units of their spread"
    return Gauge(space, size, m, figures, figures(real, real_labels), real_labels, memories, None, {"told_apart": 2 * (m // 2)})


def pick(data: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """A random `n` of the examples (all, where there are no more), in model space, with their classes."""
    rows = torch.from_numpy(stream(seed, "evaluate").permutation(len(data))[:n].copy())
    return data.batch(rows)


def _judge(train: Dataset, held_out: Dataset, cache: Path | None) -> Judge | None:
    """The classifier, where there are at least two classes to tell apart."""
    if train.labels is None or len(set(train.labels.tolist())) < 2:
        return None
    return train_judge(train, held_out, cache=None if cache is None else cache / "classifier.safetensors")


def _all_features(seer: Judge | Encoder, data: Dataset) -> Tensor:
    parts = torch.split(torch.arange(len(data)), 2000)
    return torch.cat([features(seer, data.batch(rows)[0]) for rows in parts])


def _thousand(e: Estimate) -> Estimate:
    """In thousandths, as KID is printed."""
    return Estimate(1000 * e.value, tuple(1000 * r for r in e.replicates))
