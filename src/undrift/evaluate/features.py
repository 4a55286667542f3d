"""Features of images: what a classifier of the user's own data sees before it names a class.

Pixels are a poor measure of likeness, and the usual features (of an Inception network trained on photographs) know nothing of the
user's data. The judge of `recognition` does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.evaluate.recognition import Judge


@torch.no_grad()
def features(judge: Judge, y: Tensor, batch_size: int = 500) -> Tensor:
    """The activations before the last layer, `(N, d)`, of images `(N, C, H, W)` in model space, in batches."""
    return torch.cat([judge.classifier.features(part) for part in torch.split(y, batch_size)])
