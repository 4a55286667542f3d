"""Sets that were drawn class by class, as a split in even parts leaves them: the shares of their classes do not vary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from undrift.data import Dataset

Classes = Callable[[Tensor | None], Tensor | None]  # labels to strata


def strata(labels: Tensor | None, shares: Tensor) -> Tensor | None:
    """The classes `(n,)` of a set if it was drawn class by class, None if it was not, or has none.

    It was if every class comes as often as its share says, up to a sample and a half, which is what an even split leaves. A set
    drawn at random that happens to be as even counts too: given its shares, it is one.

    Args:
        labels: Class numbers.
        shares: `(K,)` of the classes in all the data.
    """
    if labels is None:
        return None
    counts = torch.bincount(labels, minlength=len(shares))
    even = len(counts) == len(shares) and bool(((counts - len(labels) * shares).abs() <= 1.5).all())
    return labels if even else None


def by_class(train: Dataset, held_out: Dataset) -> Classes:
    """From labels to `strata`, by the shares of the classes in both parts of the data; to None for data without labels."""
    if train.labels is None or held_out.labels is None:
        return lambda labels: None
    labels = torch.from_numpy(np.concatenate([train.labels, held_out.labels]))
    shares = torch.bincount(labels).double() / len(labels)
    return lambda labels: strata(labels, shares)
