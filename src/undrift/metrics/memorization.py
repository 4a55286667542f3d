"""Memorisation: are samples nearer to the training data than unseen real examples are?

How near a sample comes to its nearest training example says nothing alone: real examples that nobody has copied have near neighbours
too. So the same is asked of held-out examples, and the two sets of similarities are compared: under the true law both are independent
draws from one law, given the training data.

Samples may also be near to the training data because they are all typical, as guidance makes them. Then they are as near to held-out
examples. So each sample is also asked for its nearest example among as many training as held-out ones: a model that copies finds it
among the former, a model that is merely typical among both alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undrift.argument import rows64
from undrift.data import Dataset
from undrift.data.stream import stream
from undrift.metrics.interval import ahead
from undrift.metrics.neighbours import directions, nearest_neighbours
from undrift.metrics.ties import levelled, spread


@dataclass(frozen=True)
class Memory:
    """Likeness to the nearest training example, of samples and of held-out examples.

    Attributes:
        space: What it is measured in.
        likeness: `(n,)` of the samples; higher is more like, so that of distances it is minus the distance.
        real: `(m,)` of held-out examples.
        rows: `(n,)` the training examples nearest to the samples.
        drawn_to: Share of samples whose nearest example, among as many training as held-out ones, is a training one; ties are
            halves. 1/2 where nothing is copied, up to what the two sets have of chance.
    """

    space: str
    likeness: Tensor
    real: Tensor
    rows: Tensor
    drawn_to: float

    @property
    def distances(self) -> bool:
        """Whether likeness is minus a distance, and not a cosine."""
        return self.space != "cosine"

    def shown(self, likeness: Tensor) -> Tensor:
        """Likenesses as they are measured: cosines as they are, distances without their sign."""
        return -likeness if self.distances else likeness

    @property
    def odds(self) -> float:
        """Chance that a sample is more like its neighbour than a held-out example is like its own; 1/2 where nothing is copied."""
        from scipy.stats import mannwhitneyu

        u = mannwhitneyu(self.likeness.numpy(), self.real.numpy(), alternative="greater").statistic
        return float(u) / (len(self.likeness) * len(self.real))

    @property
    def odds_interval(self) -> tuple[float, float]:
        """95 %, of `odds`."""
        return ahead(self.likeness, self.real)

    @property
    def p(self) -> float:
        """One-sided Mann & Whitney 1947: small where samples are *more* like training examples than held-out ones are."""
        from scipy.stats import mannwhitneyu

        return float(mannwhitneyu(self.likeness.numpy(), self.real.numpy(), alternative="greater").pvalue)

    @property
    def beyond(self) -> int:
        """How many samples are more like a training example than any held-out example is."""
        return int((self.likeness > self.real.max()).sum())

    @property
    def p_beyond(self) -> float:
        """Chance that so many of equal laws are: that the first `beyond` of all n + m in order are samples. It sees a few copies.

        n! (n + m - b)! / ((n - b)! (n + m)!)
        """
        n, m, b = len(self.likeness), len(self.real), self.beyond
        return math.exp(math.lgamma(n + 1) + math.lgamma(n + m - b + 1) - math.lgamma(n - b + 1) - math.lgamma(n + m + 1))

    def suspects(self, count: int = 10) -> Tensor:
        """Row numbers of the samples most like a training example, the most suspicious first."""
        return self.likeness.argsort(descending=True, stable=True)[:count]


def by_cosine(samples: Tensor, held_out: Tensor, train: Dataset) -> Memory:
    """Cosine, as of `nearest_neighbours`; `(n, *shape)` and `(m, *shape)` in model space."""
    likeness, rows = nearest_neighbours(samples, train)
    real, _ = nearest_neighbours(held_out, train)
    some = torch.from_numpy(_some(len(train), len(held_out)))
    held, known = (directions(y, train.spec) for y in (held_out, train.batch(some)[0]))
    own = directions(samples, train.spec)
    to = (torch.cat([(y @ part.T).max(1).values for y in torch.split(own, 1000)]) for part in (known, held))
    return Memory("cosine", levelled(likeness, 1.0), levelled(real, 1.0), rows, _share(*(levelled(t, 1.0) for t in to)))


def by_distance(space: str, samples: Tensor, held_out: Tensor, train: Tensor) -> Memory:
    """Minus the Euclidean distance, in some space: `(n, d)`, `(m, d)`, `(M, d)`."""
    from sklearn.neighbors import NearestNeighbors  # loaded where it is needed: it takes as long as torch

    rows_of = {"samples": samples, "held_out": held_out, "train": train}
    parts = {name: rows64(part, name) for name, part in rows_of.items()}
    for name, part in parts.items():
        if part.ndim < 2 or not len(part) or part.shape[1:].numel() != parts["train"].shape[1:].numel():
            raise ValueError(f"`{name}` has shape {tuple(part.shape)}: give (n, d) rows, as many columns as `train` has.")
        if not bool(torch.isfinite(part).all()):
            raise ValueError(f"`{name}` must be finite, and some of its numbers are not.")
    flat = [part.flatten(1) for part in parts.values()]
    centre, unit = flat[2].mean(0), spread(flat[2])
    y, held, known = ((part - centre).numpy() for part in flat)  # near zero rounding is least

    def likeness(far: NDArray[np.float64]) -> Tensor:
        return -levelled(torch.from_numpy(far[:, 0]), unit)

    search = NearestNeighbors(n_neighbors=1).fit(known)
    far, rows = search.kneighbors(y)
    real, _ = search.kneighbors(held)
    to = [NearestNeighbors(n_neighbors=1).fit(part).kneighbors(y)[0] for part in (known[_some(len(known), len(held))], held)]
    return Memory(space, likeness(far), likeness(real), torch.from_numpy(rows[:, 0]), _share(*map(likeness, to)))


def _some(total: int, n: int) -> NDArray[np.int64]:
    """`n` row numbers of `total`, or all of them."""
    return stream(0, "as many").permutation(total)[:n].copy()


def _share(to_train: Tensor, to_held_out: Tensor) -> float:
    return float(((to_train > to_held_out).double() + (to_train == to_held_out).double() / 2).mean())
