"""What nobody can do better: how often exact posterior draws behind a mask would keep the class, for the study of 003, Fig. 6."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import undrift as ud
from undrift.metrics.recognition import fit, predict, shifted
from undrift.nn import Classifier
from undrift.study.context import StudyContext


def perfect(context: StudyContext, mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The probability of the own class given the known pixels, `(B,)`: how often exact posterior draws keep the class."""
    train = context.data[0]
    with context.preparing("a classifier behind a mask"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier(train.spec.shape[0], 10, 24)

        def loss(seen: Tensor, labels: Any, step: int) -> Tensor:
            moved = shifted(seen, ud.Noise(range(len(seen))).fold("shift", step))
            return torch.nn.functional.cross_entropy(network(torch.where(mask, moved, -1.0)), labels)

        fit(network, train, loss, 128, 4e-3, 0)
    return predict(network, torch.where(mask, x, -1.0)).softmax(1)[torch.arange(len(y)), y]
