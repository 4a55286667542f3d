"""Paper 000, sec. 5: one network, trained with the class left out of one example in five, draws every digit that is asked for."""

from __future__ import annotations

import torch

from undrift.study.base import Claim, Measured, Study, share
from undrift.study.context import StudyContext
from undrift.study.figure import digits


def measure(context: StudyContext) -> Measured:
    model, n = context.model("000-conditional"), context.count(500, 1000, 20)
    labels = torch.arange(n) % 10
    y = context.shown(model.draw(n, labels.tolist(), w=0))
    return {
        "n": n, "right": context.recognised(y, labels), "judge": context.judge.accuracy, "held_out": context.judge.held_out,
        "examples": model.trained["examples"], "seconds": model.trained["seconds"], "x": y[:100],
        "spec": model.spec,
    }  # fmt: skip


STUDY = Study(
    name="000-model",
    title="A class-conditional model from one network",
    source="sec. 3.2 and 5",
    covers=("X1",),
    measure=measure,
    claims=(
        Claim(
            "a digit classifier that is right on 99 %",
            "sec. 4.4",
            "at least 98.5 % of held-out digits",
            lambda m: share(m["judge"], m["held_out"], low=0.985),
        ),
        Claim(
            "98.5 % of the samples are of the class asked for (7, γ = 0), after 2000 epochs (120 million examples) in a day on a GPU",
            "sec. 5, Fig. 4",
            "at least 95 % of samples of all ten classes",
            lambda m: (
                f"{share(m['right'], m['n'])[0]} after {m['examples']:,} examples in {m['seconds']:.0f} s of training",
                share(m["right"], m["n"], low=0.95)[1],
            ),
            "the training is short: more of it, or guidance (scale 1.5), brings the rest",
        ),
    ),
    figure=lambda m: digits(m["x"], m["spec"], 10),
    caption="Ten samples of each class, γ = 0.",
)
