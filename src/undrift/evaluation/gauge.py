"""Which figures there are for a kind of data, and how samples get them. One gauge serves samples, held-out data, and other runs.

The reference is the training data throughout, as in `yardstick`: a model that drew from the true law would get what held-out data get.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.error import UndriftError
from undrift.metrics import vectors
from undrift.metrics.balance import Spread, inception_score
from undrift.metrics.distance import LEAST, Energy, Estimate
from undrift.metrics.features import Encoder, features, train_encoder
from undrift.metrics.frechet import Frechet
from undrift.metrics.kernel import bell, cubic
from undrift.metrics.manifold import Manifold
from undrift.metrics.memorization import Memory, by_cosine, by_distance
from undrift.metrics.recognition import Judge, predict, train_judge
from undrift.metrics.strata import Classes, by_class

REFERENCE, _PAIRS = 10_000, 5_000  # training examples that distances are measured to: by moments, by pairs
_SHARES = ("precision", "recall", "coverage")  # of samples, and of as many training examples


@dataclass(frozen=True)
class Space:
    """Where samples are measured.

    Attributes:
        name: In words.
        size: How many numbers an example has there.
        figures: `(m, *shape)` samples in model space and `(m,)` their classes (or None) to estimates, by a key of `KINDS`.
        floor: What as many held-out examples get.
        missing: What cannot be measured, by a key of `KINDS`, and why.
        careful: What a reader must know of it.
    """

    name: str
    size: int
    figures: Callable[[Tensor, Tensor | None], dict[str, Estimate]]
    floor: dict[str, Estimate]
    missing: dict[str, str]
    careful: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gauge:
    """How samples are judged.

    Attributes:
        samples: How many samples are measured: as many as there are real ones to compare with.
        spaces: Where, one after the other.
        classes: `(samples,)` those of the held-out examples, or None: samples are drawn of the same ones, so that classes do not
            differ by chance.
        memories: All samples in model space to likenesses to training examples.
        judge: The classifier, where there is one.
        shares: Of figures that are shares: of how many answers.
    """

    samples: int
    spaces: tuple[Space, ...]
    classes: Tensor | None
    memories: Callable[[Tensor], list[Memory]]
    judge: Judge | None
    shares: dict[str, int]


def gauge(
    train: Dataset,
    held_out: Dataset,
    n: int,
    seed: int = 0,
    cache: Path | None = None,
    more: Callable[[Dataset, Dataset, int], Space] | None = None,
) -> Gauge:
    """The figures for `n` samples of these data: those of images where these are images of at least 8 x 8, else those of vectors.

    Args:
        cache: A folder to keep the trained network in.
        more: Another space to measure in: of training data, held-out data and number of samples, such as `inception_space`.

    Raises:
        UndriftError: fewer than 20 samples, held-out or training examples.
    """
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    for count, what in ((n, f"-n {n}"), (len(held_out), f"{held_out.name}, held out"), (len(train), train.name)):
        if count < LEAST:
            raise UndriftError(f"{what}: {count} examples are too few for any error bar; {LEAST} are the least")
    samples = min(n, len(held_out), len(train))
    also = () if more is None else (more(train, held_out, samples),)  # first: it may refuse the data
    images = len(train.spec.shape) == 3 and min(train.spec.shape[1:]) >= 8
    found = (_of_images if images else _of_vectors)(train, held_out, samples, seed, cache)
    seen = {f"inception_{key}": samples for key in _SHARES}
    return replace(found, spaces=(*found.spaces, *also), shares=found.shares | seen)


def in_features(
    seen: Tensor, m: int, prefix: str = "", labels: Tensor | None = None, even: Classes = lambda labels: None
) -> tuple[Callable[[Tensor, Tensor | None], dict[str, Estimate]], dict[str, str]]:
    """Figures in features, by key; and those that are not measured, with the reason.

    Args:
        seen: `(M, d)` of the reference.
        m: How many samples there will be.
        prefix: Of the keys.
        labels: `(M,)` classes of the reference.
        even: From classes to strata, as `by_class` gives it.

    Returns:
        Of features `(m, d)` and their classes `(m,)` the figures.
    """
    frechet, manifold = Frechet(seen, even(labels)), Manifold(seen[:m])
    kernel = Energy(seen[:_PAIRS], cubic, even(None if labels is None else labels[:_PAIRS]))
    why = frechet.refusal(m)

    def figures(h: Tensor, classes: Tensor | None) -> dict[str, Estimate]:
        found = {} if frechet.refusal(len(h)) is not None else {"frechet": frechet(h, even(classes))}
        found |= {"kernel": kernel(h, even(classes)).times(1000), **manifold(h)}  # KID in thousandths, as it is printed
        return {prefix + key: e for key, e in found.items()}

    return figures, {} if why is None else {f"{prefix}frechet": f"{why}; read the kernel distance"}


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
    known, labels = pick(train, REFERENCE, seed)
    seen = features(seer, known)
    even = by_class(train, held_out)
    distances, missing = in_features(seen, m, "", labels, even)
    spread = Spread(seen, labels) if labels is not None else None
    if spread is not None and not any(spread.variances.values()):
        spread, missing["diversity"] = None, "the training examples of a class are all alike"

    def figures(y: Tensor, classes: Tensor | None) -> dict[str, Estimate]:
        h = features(seer, y)
        found = distances(h, classes)
        if judge is not None:
            found["inception"] = inception_score(predict(judge.classifier, y))
        if spread is not None and classes is not None:
            found["diversity"] = spread(h, classes)
        return found

    real, real_labels = pick(held_out, m, seed)
    everything, unseen = _all_features(seer, train), features(seer, real)

    def memories(y: Tensor) -> list[Memory]:
        return [by_cosine(y, real, train), by_distance("distance in features", features(seer, y), unseen, everything)]

    if judge is None:
        missing["inception"] = "the data have no classes" if labels is None else "one class only"
    if labels is None:
        missing["diversity"] = "the data have no classes"
    own = Space(space, seen.shape[1], figures, figures(real, real_labels), missing)
    return Gauge(m, (own,), real_labels, memories, judge, dict.fromkeys(_SHARES, m))


def _of_vectors(train: Dataset, held_out: Dataset, m: int, seed: int, cache: Path | None) -> Gauge:
    known, labels = pick(train, _PAIRS, seed)
    even = by_class(train, held_out)
    energy, mmd = Energy(known, strata=even(labels)), Energy(known, bell(known), even(labels))
    sliced = vectors.SlicedWasserstein(known)
    size = known[0].numel()
    correlations = vectors.Correlations(known) if size > 1 else None
    missing = {} if size > 1 else {"correlation": "one column only"}
    if m < 2 * LEAST:
        missing["told_apart"] = f"{m} samples are too few to train on half of them; {2 * LEAST} are the least"

    def figures(y: Tensor, classes: Tensor | None) -> dict[str, Estimate]:
        found = {"energy": energy(y, even(classes)), "mmd": mmd(y, even(classes)).times(1000), "sliced": sliced(y)}
        found["marginal"] = vectors.widest_gap(y, known)
        if correlations is not None:
            found["correlation"] = correlations(y)
        if m >= 2 * LEAST:
            found["told_apart"] = vectors.told_apart(y, known[:m])[0]
        return found

    real, real_labels = pick(held_out, m, seed)
    everything = train.batch(torch.arange(len(train)))[0]

    def memories(y: Tensor) -> list[Memory]:
        return [by_distance("distance in units of the columns", y, real, everything)]

    words = "the numbers themselves, in units of the model" if train.spec.low is not None else "columns in units of their spread"
    own = Space(words, size, figures, figures(real, real_labels), missing)
    return Gauge(m, (own,), real_labels, memories, None, {"told_apart": 2 * (m // 2), "marginal": m})


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
