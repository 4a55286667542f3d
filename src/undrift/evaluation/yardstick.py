"""What samples are held against, and what a perfect model would get.

    images with classes     Frechet distance in the features of a classifier of the same data, or the kernel distance there, where
                            samples are too few for that; the share recognised beside it
    everything else         energy distance, in model space
    an exact law            energy distance to exact draws: the sampler's own error; for samplers without noise also the distance
                            to the exact end of the flow, root mean square over samples and entries

The reference is the training data, which the classifier was trained on too; the floor is what as many held-out examples get. So a
model that drew from the true law would reach the floor, and no more.
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
from undrift.exact import GaussianMixture
from undrift.likelihood import decode
from undrift.metrics.distance import Energy, Estimate
from undrift.metrics.features import features
from undrift.metrics.frechet import Frechet
from undrift.metrics.kernel import cubic
from undrift.metrics.recognition import train_judge
from undrift.metrics.strata import by_class
from undrift.noise import Noise

LEAST = 50  # samples, or held-out examples, below which error bars mean little
_FEATURES, _ENERGY = 10_000, 5_000  # examples of the reference


@dataclass(frozen=True)
class Yardstick:
    """How samples are judged.

    Attributes:
        name: What the figure is, in words.
        floor: What real examples get.
        real: Which those are, in words: as many as there are samples, where there are so many.
        quality: `(n, *shape)` samples to the figure; lower is better.
        also: `(samples, deterministic)` to other figures by name, shown beside it.
        least: How many samples the figure takes, at the least.
    """

    name: str
    floor: Estimate
    real: str
    quality: Callable[[Tensor], Estimate]
    also: Callable[[Tensor, bool], dict[str, float]]
    least: int = LEAST


def of_images(train: Dataset, held_out: Dataset, labels: Tensor, seed: int = 0, cache: Path | None = None) -> Yardstick:
    """Distance in the features of a classifier of the training data, and the share recognised.

    It is the Frechet distance where samples, held-out examples and the reference are enough for it, else the kernel distance,
    which is without bias for any number.

    Args:
        train, held_out: Labelled images of at least 8 x 8.
        labels: `(n,)` the class asked of each sample.
        seed: Chooses the examples.
        cache: Where the classifier is kept.
    """
    judge = train_judge(train, held_out, cache=cache)
    (known, known_labels), (real, real_labels) = _some(train, _FEATURES, seed), _some(held_out, len(labels), seed)
    even, h = by_class(train, held_out), features(judge, known)
    frechet, what, least = Frechet(h, even(known_labels)), "Frechet distance", LEAST
    distance: Callable[[Tensor, Tensor | None], Estimate] = frechet
    if (why := frechet.refusal(len(real))) is None:
        least = max(LEAST, frechet.least)
    else:
        kernel = Energy(h[:_ENERGY], cubic, even(None if known_labels is None else known_labels[:_ENERGY]))
        distance, what = lambda h, classes: kernel(h, classes).times(1000), "kernel distance (KID x 1000)"

    def far(y: Tensor, classes: Tensor | None) -> Estimate:
        return distance(features(judge, y), even(classes))

    def recognised(y: Tensor, deterministic: bool) -> dict[str, float]:
        return {"recognised": float((judge.classify(y) == labels[: len(y)]).double().mean())}

    return Yardstick(
        f"{what} to training data in the features of a classifier (right on {100 * judge.accuracy:.1f} % of "
        f"{judge.held_out:,} held-out examples)" + ("" if why is None else f"; no Frechet distance: {why}"),
        far(real, real_labels),
        f"{len(real):,} held-out examples",
        lambda y: far(y, labels[: len(y)]),
        recognised,
        least,
    )


def of_data(train: Dataset, held_out: Dataset, n: int, seed: int = 0) -> Yardstick:
    """Energy distance to the training data in model space."""
    even, (known, labels), (real, classes) = by_class(train, held_out), _some(train, _ENERGY, seed), _some(held_out, n, seed)
    distance, which = Energy(known, strata=even(labels)), f"{len(real):,} held-out examples"
    floor = distance(real, even(classes))
    return Yardstick("energy distance to training data", floor, which, distance, lambda y, deterministic: {})


def of_draws(law: GaussianMixture, n: int, seed: int = 0) -> Yardstick:
    """Energy distance to exact draws."""
    distance = Energy(law.sample(_ENERGY, Noise(range(_ENERGY)).fold("reference", seed)))
    floor = distance(law.sample(n, Noise(range(n)).fold("floor", seed)))
    name, real = "energy distance to exact draws", f"{n:,} other exact draws"
    return Yardstick(name, floor, real, distance, lambda y, deterministic: {})


def of_law(law: GaussianMixture, n: int, seed: int = 0) -> Yardstick:
    """Energy distance to exact draws; and to the exact end of the flow from the noise that `sample` starts with."""
    start = law.process.prior(torch.empty(n, *(law.shape or ()), dtype=torch.float32), Noise(range(n)).fold("sample", seed))
    end = decode(law, start)

    def error(y: Tensor, deterministic: bool) -> dict[str, float]:
        return {"rms": float((y - end[: len(y)]).double().square().mean().sqrt())} if deterministic else {}

    return replace(of_draws(law, n, seed), also=error)


def _some(data: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """A random `n` of the examples (all, where there are no more), in model space, and their classes."""
    if len(data) < LEAST:
        raise UndriftError(f"{data.name}: {len(data)} examples are too few to judge by; {LEAST} are the least")
    rows = torch.from_numpy(stream(seed, "frontier").permutation(len(data))[:n].copy())
    return data.batch(rows)
