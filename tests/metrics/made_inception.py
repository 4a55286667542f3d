"""Weights of the Inception network's names and shapes, made from fixed numbers, and two pictures: the real ones are not ours to ship."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undrift.metrics.inception import Inception


def made() -> dict[str, Tensor]:
    """Such that features are about 1 in size, and depend on every layer."""
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in Inception().state_dict().items() if not k.endswith("num_batches_tracked")}
    rng, found = np.random.default_rng(0), {}
    for name, shape in sorted(shapes.items()):
        draws = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith("conv.weight"):
            draws *= np.sqrt(2 / draws[0].size, dtype=np.float32)
        elif name.endswith(("running_var", "bn.weight")):
            draws = 1 + 0.2 * np.tanh(draws)
        elif name != "fc.weight":
            draws *= 0.1
        found[name] = torch.from_numpy(draws)
    return found


def pixels() -> NDArray[np.uint8]:
    """`(2, 3, 20, 28)` colours."""
    return np.random.default_rng(1).integers(0, 256, (2, 3, 20, 28), dtype=np.uint8)
