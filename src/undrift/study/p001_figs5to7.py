"""Paper 001, Figs 5 to 7: the three models on their way from noise to digit. Is it "noise until about 70 %"?"""

from __future__ import annotations

import torch
from PIL import Image

from undrift.metrics.interval import wilson
from undrift.plot.chart import Point, chart
from undrift.study.base import Claim, Measured, Seen, Study, settled
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels
from undrift.study.p001_samplers import SHARES, WAYS, drawn

WHY = (
    "what a classifier that knows the noise can see in a state is decided by the noise that is left, alpha against sigma, and so by the "
    "schedule; where this network's samples settle earlier or later, they leave the paper's share"
)


def measure(context: StudyContext) -> Measured:
    runs = {name: drawn(context, name) for name in WAYS}
    return {
        "n": len(runs["DDPM"].x), "seen": {k: r.seen for k, r in runs.items()}, "guess": {k: r.guess for k, r in runs.items()},
        "strip": {k: r.strip for k, r in runs.items()}, "spec": context.data[0].spec,
    }  # fmt: skip


def half(curve: list[float], n: int) -> tuple[float, float, float]:
    """The share of the steps from which on at least half of n states are recognised, and the ends of its 95 % interval."""

    def since(values: list[float]) -> float:
        last = max((i for i, v in enumerate(values) if v < 0.5), default=-1)
        return SHARES[min(last + 1, len(SHARES) - 1)]

    intervals = [wilson(v, n) for v in curve]
    return since(curve), since([high for _, high in intervals]), since([low for low, _ in intervals])


def _at(name: str, m: Measured, low: float, high: float) -> Seen:
    (at, *ends), guess = half(m["seen"][name], m["n"]), half(m["guess"][name], m["n"])[0]
    text = (
        f"half of the states are recognised from {100 * at:.0f} % of the steps on ({100 * ends[0]:.0f} to {100 * ends[1]:.0f}); "
        f"the network's guesses from {100 * guess:.0f} %"
    )
    return text, settled((ends[0], ends[1]), low, high)


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
            "half of the states recognised by the middle of the levels, by a classifier that knows the noise",
            lambda m: _at("SMLD", m, 0, 0.5),
            "how soon depends on the noise of the first levels",
        ),
        Claim(
            "DDPM is “complete noise until the process is about 70% finished”",
            "sec. 7, Fig. 6",
            "half recognised from 60 to 85 % on, by a classifier that knows the noise",
            lambda m: _at("DDPM", m, 0.6, 0.85),
            WHY,
        ),
        Claim(
            "the SDE is “complete noise until the process is about 70% finished”",
            "sec. 7, Fig. 7",
            "half recognised from 60 to 85 % on, by a classifier that knows the noise",
            lambda m: _at("SDE", m, 0.6, 0.85),
            WHY,
        ),
    ),
    figure=figure,
    caption="Four samples of each model at ten moments; how many states, and guesses, the judge takes for what they become.",
)
