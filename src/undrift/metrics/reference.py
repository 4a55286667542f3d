"""The real data that samples are held against: one reference serves `evaluate`, `frontier`, `diagnose` and a training's own looks.

Metrics compare samples with the training data, and as many held-out examples with the same: that is the floor. So a model that drew
from the true law would get the floor, and no more. What is costly (a network that judges, features of the data) is made when a
metric first asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from undrift.data import Dataset, Spec
from undrift.data.stream import stream
from undrift.error import UndriftError
from undrift.metrics.estimate import LEAST
from undrift.metrics.features import Encoder, features, train_encoder
from undrift.metrics.memorization import Memory, by_cosine, by_distance
from undrift.metrics.metric import PAIRS, Points, Space
from undrift.metrics.recognition import Judge, predict, train_judge
from undrift.metrics.registry import metrics_of
from undrift.metrics.strata import by_class

KNOWN = 10_000  # training examples that metrics in features compare with


class Reference:
    """Training and held-out examples of one kind of data, and the spaces in which samples are measured against them.

    Args:
        train, held_out: Of one data set.
        n: How many samples will be measured; as many real ones are compared, where there are so many.
        seed: Chooses the examples.
        cache: A folder to keep trained networks in.
        draw: Names the choice of examples, so that two uses of one seed differ.
        least: How many samples, training and held-out examples there must be.
        device: Where networks that judge are trained and asked.
        more: Another space to measure in, of these data: from (train, held_out, samples), such as `inception_space`.

    Attributes:
        samples: How many samples are measured.
        even: From classes to strata, as of `by_class`.

    Raises:
        UndriftError: fewer than `least` samples, held-out or training examples; what `more` raises.
    """

    def __init__(
        self,
        train: Dataset,
        held_out: Dataset,
        n: int,
        seed: int = 0,
        cache: Path | None = None,
        draw: str = "evaluate",
        least: int = LEAST,
        more: Callable[[Dataset, Dataset, int], Space] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if n < 1:
            raise UndriftError(f"-n {n}: ask for at least one sample")
        for count, what in ((n, f"-n {n}"), (len(held_out), f"{held_out.name}, held out"), (len(train), train.name)):
            if count < least:
                raise UndriftError(f"{what}: {count} examples are too few for any error bar; {least} are the least")
        self.train, self.held_out, self.seed, self.cache, self.draw = train, held_out, seed, cache, draw
        self.device = device
        self.samples = min(n, len(held_out), len(train))
        self.even = by_class(train, held_out)
        self.more = None if more is None else more(train, held_out, self.samples)  # at once: it may refuse the data

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Where samples are measured: pictures of at least 8 x 8 in features, everything else as numbers; and `more`."""
        own = self.features if seen_by_a_network(self.train.spec) else self.values
        return (own,) if self.more is None else (own, self.more)

    @cached_property
    def real(self) -> tuple[Tensor, Tensor | None]:
        """The held-out examples of the floor in model space, and their classes."""
        return pick(self.held_out, self.samples, self.seed, self.draw)

    @property
    def classes(self) -> Tensor | None:
        """`(samples,)` theirs: samples are drawn of the same ones, so that classes do not differ by chance. None without classes."""
        return self.real[1]

    @cached_property
    def values(self) -> Space:
        """The numbers as they are, in model space."""

        def see(y: Tensor, labels: Tensor | None) -> Points:
            return Points(y, labels, self.even)

        known = pick(self.train, PAIRS, self.seed, self.draw)
        bounded = self.train.spec.low is not None
        name = "the numbers themselves, in units of the model" if bounded else "columns in units of their spread"
        return Space("values", name, see(*known), see(*self.real), see, metrics_of("values"))

    @cached_property
    def features(self) -> Space:
        """What a network trained on the training data makes of pictures: the classifier, or without classes an autoencoder."""
        judge, network = self.judge, self.network

        def see(y: Tensor, labels: Tensor | None) -> Points:
            logits = None if judge is None else (lambda: predict(judge.classifier, y))
            return Points(features(network, y), labels, self.even, logits)

        if isinstance(network, Judge):
            name = f"features of a classifier of the training data, right on {100 * network.accuracy:.1f} % of the held-out"
        else:
            kept = f"{100 * network.explained(self.held_out):.0f} % of the variance of the held-out"
            name = f"features of an autoencoder of the training data, which keep {kept}"
        known = pick(self.train, KNOWN, self.seed, self.draw)
        return Space("features", name, see(*known), see(*self.real), see, metrics_of("features"))

    @cached_property
    def judge(self) -> Judge | None:
        """The classifier of the training data, where these are pictures of at least 8 x 8 of two classes or more."""
        labels = self.train.labels
        if labels is None or len(set(labels.tolist())) < 2 or not seen_by_a_network(self.train.spec):
            return None
        cache = None if self.cache is None else self.cache / "classifier.safetensors"
        return train_judge(self.train, self.held_out, cache=cache, device=self.device)

    @cached_property
    def network(self) -> Judge | Encoder:
        """In whose features pictures are measured."""
        if self.judge is not None:
            return self.judge
        cache = None if self.cache is None else self.cache / "encoder.safetensors"
        return train_encoder(self.train, cache=cache, device=self.device)

    def memories(self, y: Tensor) -> list[Memory]:
        """How like training examples samples `(n, *shape)` in model space are, beside held-out examples."""
        real = self.real[0]
        if not seen_by_a_network(self.train.spec):
            everything = self.train.batch(torch.arange(len(self.train)))[0]
            return [by_distance("distance in units of the columns", y, real, everything)]
        own = features(self.network, y), self.features.held_out.rows, self._everything
        return [by_cosine(y, real, self.train), by_distance("distance in features", *own)]

    @cached_property
    def _everything(self) -> Tensor:
        """Features of all training examples: the same for every run that is compared."""
        parts = torch.split(torch.arange(len(self.train)), 2000)
        return torch.cat([features(self.network, self.train.batch(rows)[0]) for rows in parts])


def seen_by_a_network(spec: Spec) -> bool:
    """Whether data are pictures of at least 8 x 8, of which a network that judges can be trained."""
    return len(spec.shape) == 3 and min(spec.shape[1:]) >= 8


def pick(data: Dataset, n: int, seed: int, draw: str = "evaluate") -> tuple[Tensor, Tensor | None]:
    """A random `n` of the examples (all, where there are no more), in model space, with their classes."""
    rows = torch.from_numpy(stream(seed, draw).permutation(len(data))[:n].copy())
    return data.batch(rows)
