"""Nearest training neighbours: has the model made something, or remembered it?"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.data import Dataset, Spec


def nearest_neighbours(y: Tensor, data: Dataset, batch_size: int = 2048) -> tuple[Tensor, Tensor]:
    """The most similar training example of each sample, by cosine (000, Fig. 2).

    Cosine in shifted model space, where the lowest legal value (black) is zero, so that an empty background does not count.

    Args:
        y: `(N, *shape)` model space.
        data: What to search.

    Returns:
        Similarities `(N,)` in [-1, 1], and row numbers `(N,)`.
    """
    queries = directions(y, data.spec)
    best, rows = torch.full((len(y),), -2.0, dtype=torch.float32), torch.zeros(len(y), dtype=torch.int64)
    for start in range(0, len(data), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(data)))
        similarity, place = (queries @ directions(data.batch(chosen)[0], data.spec).T).max(1)
        better = similarity > best
        best, rows = torch.where(better, similarity, best), torch.where(better, start + place, rows)
    return best, rows


def directions(y: Tensor, spec: Spec) -> Tensor:
    """`(N, size)` unit vectors whose products are the cosines, of `(N, *shape)` in model space."""
    shown = y if spec.low is None else y.clamp(-1, 1) + 1
    return torch.nn.functional.normalize(shown.flatten(1).float(), dim=1)
