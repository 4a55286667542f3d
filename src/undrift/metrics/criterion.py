"""The one metric by which settings of a sampler, and the parts of an error budget, are compared.

    images with classes     Frechet distance in the features of a classifier of the same data, or the kernel distance there, where
                            samples are too few for that; the share recognised beside it
    everything else         energy distance, in model space
    an exact law            energy distance to exact draws: the sampler's own error; for samplers without noise also the distance
                            to the exact end of the flow, root mean square over samples and entries

Any other metric of the registry of which less is better can be named instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from undrift.error import UndriftError, nearest, short
from undrift.exact import GaussianMixture
from undrift.likelihood import decode
from undrift.metrics.energy import Energy
from undrift.metrics.estimate import Estimate
from undrift.metrics.metric import PAIRS, Unmeasurable
from undrift.metrics.reference import Reference, seen_by_a_network
from undrift.metrics.registry import METRICS
from undrift.noise import Noise

LEAST = 50  # samples, or held-out examples, below which differences mean little


def comparable() -> list[str]:
    """The metrics that settings can be compared by: those of which less is better, without the Inception network."""
    return [key for key, metric in METRICS.items() if metric.better == "lower" and metric.of != "inception"]


def check_comparable(metric: str | None) -> None:
    """Raise UndriftError for a metric that settings cannot be compared by; None is the usual one."""
    if metric is not None and metric not in comparable():
        raise UndriftError(f'metric "{short(metric)}" cannot be compared by{nearest(short(metric), comparable())}')


@dataclass(frozen=True)
class Criterion:
    """How samples are compared.

    Attributes:
        name: What is measured, in words.
        floor: What real examples get.
        real: Which those are, in words: as many as there are samples, where there are so many.
        quality: `(n, *shape)` samples to the estimate; lower is better.
        also: `(samples, deterministic)` to other numbers by name, shown beside it.
        least: How many samples it takes, at the least.
    """

    name: str
    floor: Estimate
    real: str
    quality: Callable[[Tensor], Estimate]
    also: Callable[[Tensor, bool], dict[str, float]]
    least: int = LEAST


def of_data(reference: Reference, labels: Tensor | None = None, metric: str | None = None) -> Criterion:
    """A metric of samples against real data.

    Args:
        reference: Of the data.
        labels: `(n,)` the class asked of each sample; None without classes.
        metric: One of `comparable`; default: as the head of this file says.

    Raises:
        UndriftError: an unknown metric, or one that these data or so few samples do not allow.
    """
    check_comparable(metric)
    judge = None if labels is None else reference.judge
    labels = None if judge is None else labels  # without a classifier nobody can say what a sample is of
    key, refused = metric or ("energy" if judge is None else "frechet"), ""
    pictures = METRICS[key].of == "features"
    if pictures and not seen_by_a_network(reference.train.spec):
        raise UndriftError(f"metric {key} is of pictures of at least 8 x 8; these data are none, so compare by energy")
    space = reference.features if pictures else reference.values
    try:
        measure = space.measure(key)
    except Unmeasurable as error:
        if metric is not None:
            raise UndriftError(f"metric {key}: {error}") from None
        key, refused = "kernel", f"; no Fréchet distance: {error.why}"
        measure = space.measure(key)

    def quality(y: Tensor) -> Estimate:
        found = measure.of(space.see(y, None if labels is None else labels[: len(y)]))
        if found is None:
            raise UndriftError(f"metric {key}: {len(y)} samples are too few; {measure.least} are the least")
        return found

    def recognised(y: Tensor, deterministic: bool) -> dict[str, float]:
        if judge is None or labels is None:
            return {}
        return {"recognised": float((judge.classify(y) == labels[: len(y)]).double().mean())}

    floor = measure.of(space.held_out)
    assert floor is not None
    where = ""
    if pictures:
        seer = "an autoencoder" if judge is None else (
            f"a classifier (right on {100 * judge.accuracy:.1f} % of {judge.held_out:,} held-out examples)"
        )  # fmt: skip
        where = f" in the features of {seer}"
    name = f"{METRICS[key].name} to training data{where}{refused}"
    return Criterion(name, floor, f"{space.samples:,} held-out examples", quality, recognised, max(LEAST, measure.least))


def of_draws(law: GaussianMixture, n: int, seed: int = 0) -> Criterion:
    """Energy distance to exact draws."""
    distance = Energy(law.sample(PAIRS, Noise(range(PAIRS)).fold("reference", seed)))
    floor = distance(law.sample(n, Noise(range(n)).fold("floor", seed)))
    name, real = "energy distance to exact draws", f"{n:,} other exact draws"
    return Criterion(name, floor, real, distance, lambda y, deterministic: {})


def of_law(law: GaussianMixture, n: int, seed: int = 0) -> Criterion:
    """Energy distance to exact draws; and to the exact end of the flow from the noise that `sample` starts with."""
    start = law.process.prior(torch.empty(n, *(law.shape or ()), dtype=torch.float32), Noise(range(n)).fold("sample", seed))
    end = decode(law, start)

    def error(y: Tensor, deterministic: bool) -> dict[str, float]:
        return {"rms": float((y - end[: len(y)]).double().square().mean().sqrt())} if deterministic else {}

    return replace(of_draws(law, n, seed), also=error)
