"""The order of the examples: a function of the seed and the epoch, so that a step can be looked up, not replayed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from undrift.data.stream import stream


class Order:
    """Rows of the k-th batch: one permutation of the data per epoch, end to end.

    Args:
        length: Number of examples.
        seed: The run's.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def rows(self, step: int, batch_size: int) -> Tensor:
        """`(batch_size,)` row numbers."""
        position, rows = step * batch_size, []
        while batch_size:
            epoch, start = divmod(position, self.length)
            if epoch != self._epoch:
                self._epoch, self._permutation = epoch, stream(self.seed, "order", str(epoch)).permutation(self.length)
            piece = self._permutation[start : start + batch_size]
            rows.append(piece)
            position, batch_size = position + len(piece), batch_size - len(piece)
        return torch.from_numpy(np.concatenate(rows))
