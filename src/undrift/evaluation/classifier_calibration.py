"""How well a noise-aware classifier sees: its accuracy, cross-entropy and calibration on held-out data, by noise level."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import nn

from undrift.data import Dataset
from undrift.guidance import NoisyClassifier
from undrift.noise import Noise

BANDS = (8.0, 6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0, -8.0)  # log-SNR, from clean to noisy


@dataclass(frozen=True)
class Band:
    """What was found between two log-SNRs: shares in [0, 1], nats.

    Attributes:
        confidence: Mean probability of the class that the classifier names; `accuracy` below it means that it is too sure.
    """

    high: float
    low: float
    accuracy: float
    confidence: float
    cross_entropy: float


@torch.no_grad()
def by_level(classifier: NoisyClassifier, data: Dataset, n: int = 2000, seed: int = 0) -> list[Band]:
    """Measure on `n` examples spread over `data`, each once per band at a log-SNR uniform in it.

    Args:
        classifier: To be judged.
        data: Labelled, held out.
        n: At most so many examples.
        seed: Names the noise.
    """
    rows = torch.linspace(0, len(data) - 1, min(n, len(data)), dtype=torch.float32).long()
    x0, labels = data.batch(rows)
    assert labels is not None
    device, found = classifier.log_prior.device, []
    x0, labels, noise = x0.to(device), labels.to(device), Noise(range(len(rows))).fold("by_level", seed)
    for i, (high, low) in enumerate(itertools.pairwise(BANDS)):
        here = noise.fold(i)
        level = high + (low - high) * here.fold("time").uniform(torch.empty(len(rows), dtype=torch.float64))
        t = classifier.process.time(level)
        x = classifier.process.perturb(x0, t, here.fold("eps").normal(x0))
        logits = torch.cat([classifier.logits(a, b) for a, b in zip(torch.split(x, 500), torch.split(t, 500), strict=True)])
        sure, named = logits.softmax(1).max(1)
        accuracy, entropy = (named == labels).double().mean(), nn.functional.cross_entropy(logits, labels)
        found.append(Band(high, low, accuracy.item(), sure.mean().item(), entropy.item()))
    return found


def table(bands: list[Band], classifier: NoisyClassifier, data: Dataset) -> list[str]:
    """The bands in lines for a terminal."""
    prior = classifier.log_prior.double()
    chance, entropy = prior.exp().max().item(), -(prior.exp() * prior).sum().item()
    lines = [f"on held-out {data.name}, from clean to noisy:", "       log-SNR  sigma/alpha  accuracy  confidence  cross-entropy"]
    for b in bands:
        ratio = math.exp(-(b.high + b.low) / 4)
        lines.append(
            f"  {b.high:+5.1f}..{b.low:+5.1f}  {ratio:11.3g}  {100 * b.accuracy:6.1f} %  {100 * b.confidence:8.1f} %  "
            f"{b.cross_entropy:8.3f} nats"
        )
    return [*lines, f"  {'chance':>12}  {'':>11}  {100 * chance:6.1f} %  {100 * chance:8.1f} %  {entropy:8.3f} nats"]
