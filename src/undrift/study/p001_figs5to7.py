"""Paper 001, Figs 5 to 7: the three models on their way from noise to digit. Is it "noise until about 70 %"?"""

from __future__ import annotations

import torch
from PIL import Image

from undrift.plot.chart import Point, chart
from undrift.study.base import Claim, Measured, Seen, Study
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels
from undrift.study.p001_samplers import SHARES, WAYS, drawn

WHY = (
    "until 74 % of the steps noise outweighs the picture (alpha < sigma); the network's guess is there by then, but the judge, who "
    "knows clean digits alone, does not see through what noise is left"
)


def measure(context: StudyContext) -> Measured:
    runs = {name: drawn(context, name) for name in WAYS}
    return {
        "seen": {k: r.seen for k, r in runs.items()}, "guess": {k: r.guess for k, r in runs.items()},
        "strip": {k: r.strip for k, r in runs.items()}, "spec": context.data[0].spec,
    }  # fmt: skip


def settled(curve: list[float]) -> float:
    """The share of the steps after which at least half of the states are classified as the digit they become."""
    last = max((i for i, v in enumerate(curve) if v < 0.5), default=-1)
    return SHARES[min(last + 1, len(SHARES) - 1)]


def _late(name: str, m: Measured) -> Seen:
    at = settled(m["seen"][name])
    guess = 100 * settled(m["guess"][name])
    text = f"half of the states are recognised from {100 * at:.0f} % of the steps on; the network's guesses from {guess:.0f} %"
    return text, 0.6 <= at <= 0.85


def _early(m: Measured) -> Seen:
    at = settled(m["seen"]["SMLD"])
    return f"half of the states are recognised from {100 * at:.0f} % of the levels on", at <= 0.5


def figure(m: Measured) -> Image.Image:
    spec = m["spec"]
    strips = {
        f"{name}: from noise to digit": digits(
            torch.stack(strip, 1).flatten(0, 1), spec, len(strip), max(1, 32 // spec.shape[-1])
        )
        for name, strip in m["strip"].items()
    }
    lines = {
        f"{name}, {what}": [Point(100 * s, 100 * v, 0.0) for s, v in zip(SHARES, m[key][name], strict=True)]
        for name in m["seen"] for key, what in (("seen", "states"), ("guess", "guesses"))
    }  # fmt: skip
    curves = chart(lines, "% of the steps done", "% recognised as what it becomes", size=(720, 360))
    return panels({**strips, "how soon is it a digit?": curves}, 2)


STUDY = Study(
    name="001-figs5-7",
    title="Three models on their way from noise to digit",
    source="sec. 6.2 and 7, Figs 5 to 7",
    covers=("X6", "X7", "X8"),
    measure=measure,
    claims=(
        Claim(
            "SMLD denoises gradually",
            "sec. 7, Fig. 5",
            "half of the states recognised by the middle of the levels",
            _early,
            "how soon depends on the noise of the first levels",
        ),
        Claim(
            "DDPM is “complete noise until the process is about 70% finished”",
            "sec. 7, Fig. 6",
            "half recognised from 60 to 85 % on",
            lambda m: _late("DDPM", m),
            WHY,
        ),
        Claim(
            "the SDE is “complete noise until the process is about 70% finished”",
            "sec. 7, Fig. 7",
            "half recognised from 60 to 85 % on",
            lambda m: _late("SDE", m),
            WHY,
        ),
    ),
    figure=figure,
    caption="Four samples of each model at ten moments; how many states, and guesses, the judge takes for what they become.",
)
