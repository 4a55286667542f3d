"""Paper 000, Fig. 2: samples and their nearest training digits. How near are digits that nobody copied?"""

from __future__ import annotations

from typing import Any

import torch

from undrift.metrics.memorization import by_cosine
from undrift.metrics.reference import pick
from undrift.study.base import Claim, Measured, Seen, Study
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels


def measure(context: StudyContext) -> Measured:
    """γ = 1 as in the paper's code; one digit of each class is the paper's, the others are for the test."""
    train, held_out = context.data
    model, n = context.model("000-conditional"), context.count(359, 1000, 20)
    options: dict[str, Any] = {"sampler": "euler-maruyama", "steps": 500, "grid": "log_snr"} if context.paper else {}
    labels = torch.arange(n) % 10
    y = context.shown(model.draw(n, labels.tolist(), w=1, **options))
    memory = by_cosine(y, pick(held_out, n, 0)[0], train)
    return {
        "ten": memory.likeness[:10], "likeness": memory.likeness, "real": memory.real, "p_beyond": memory.p_beyond,
        "drawn_to": memory.drawn_to, "x": y[:10], "near": train.batch(memory.rows[:10])[0], "spec": model.spec,
    }  # fmt: skip


def _range(m: Measured) -> Seen:
    low, high = m["ten"].min().item(), m["ten"].max().item()
    return f"{low:.2f} to {high:.2f}", low >= 0.82 and high <= 0.98


def _tells(m: Measured) -> Seen:
    """Whether the ten lie where held-out digits do not: only then would they say something."""
    low, high = m["real"].double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    mine = m["ten"].median().item()
    return (
        f"ten samples: median {mine:.2f}; held-out real digits, which nobody copied: {low:.2f} to {high:.2f} (95 %)",
        not low <= mine <= high,
    )


def _made(m: Measured) -> Seen:
    text = (
        f"{100 * m['drawn_to']:.0f} % of {len(m['likeness'])} samples lie nearest to a training digit; median cosine "
        f"{m['likeness'].median():.3f}, held-out {m['real'].median():.3f}"
    )
    return text, m["drawn_to"] <= 0.6 and m["p_beyond"] > 1e-3


STUDY = Study(
    name="000-fig2",
    title="Nearest training digits",
    source="sec. 4.1, Fig. 2",
    covers=("X2",),
    measure=measure,
    claims=(
        Claim(
            "ten samples are 0.87 to 0.96 (cosine) from their nearest training digits",
            "sec. 4.1, Fig. 2",
            "between 0.82 and 0.98",
            _range,
            "a figure of the data more than of the model: 8 x 8 digits are more alike than those of MNIST, held-out ones too",
        ),
        Claim(
            "this “indicates strong resemblance without memorization”",
            "sec. 4.1",
            "similarities that held-out digits do not have",
            _tells,
            "held-out digits are as near to the training digits as that, so such a number cannot tell making from copying",
        ),
        Claim(
            "the samples are “not exact copies of the training data”",
            "sec. 4.1",
            "among as many training as held-out digits a training one is the nearest for 40 to 60 %; none is a copy",
            _made,
            "samples lean to the training digits: trained for long on few, a network begins to remember them",
        ),
    ),
    figure=lambda m: panels(
        {"samples, and below them their nearest training digits": digits(torch.cat([m["x"], m["near"]]), m["spec"], 10)}
    ),
    caption="Above one sample of each class (γ = 1), below the most similar training digit.",
)
