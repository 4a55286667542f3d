"""Paper 000, Fig. 3, left: a 7 asked for with γ = -4, -1, 1, 10."""

from __future__ import annotations

from typing import Any

import torch

from undrift.study.base import Claim, Measured, Study, share
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels

GAMMAS = (-4.0, -1.0, 1.0, 10.0)


def sevens(context: StudyContext, gamma: float, n: int) -> torch.Tensor:
    """Samples that were asked to be a 7, the same noise for every γ."""
    model = context.model("000-conditional")
    options: dict[str, Any] = (
        {"sampler": "euler-maruyama", "steps": 200, "grid": "uniform"} if context.paper else {"sampler": "abm", "steps": 20}
    )
    return context.shown(model.draw(n, 7, w=gamma, **options))


def measure(context: StudyContext) -> Measured:
    n, found = context.count(400, 500, 20), {}
    for gamma in GAMMAS:
        y = sevens(context, gamma, n)
        found[gamma] = float((context.judge.classify(y) == 7).double().mean()), y[:5]
    return {
        "n": n,
        "of 7": {g: f[0] for g, f in found.items()},
        "x": {g: f[1] for g, f in found.items()},
        "spec": context.data[0].spec,
    }


STUDY = Study(
    name="000-fig3-guidance",
    title="Guidance towards a 7 and away from it",
    source="sec. 4.3, Fig. 3 left",
    covers=("X4",),
    measure=measure,
    claims=(
        Claim("γ = -4: no 7", "sec. 4.3", "at most 2 % sevens", lambda m: share(m["of 7"][-4.0], m["n"], high=0.02)),
        Claim(
            "γ = -1: one 7 of five, by chance",
            "sec. 4.3",
            "5 to 20 % sevens",
            lambda m: share(m["of 7"][-1.0], m["n"], 0.05, 0.2),
        ),
        Claim("γ = 1: all are 7", "sec. 4.3", "at least 97 % sevens", lambda m: share(m["of 7"][1.0], m["n"], low=0.97)),
        Claim(
            "γ = 10: all are 7",
            "sec. 4.3",
            "at least 97 % sevens",
            lambda m: share(m["of 7"][10.0], m["n"], low=0.97),
            "so strong a push drives pixels out of the range of pictures, and the judge no longer sees digits",
        ),
    ),
    figure=lambda m: panels({f"γ = {g:g}\n(scale {g + 1:g})": digits(x, m["spec"], 1) for g, x in m["x"].items()}),
    caption="Five samples that were asked to be a 7, of one noise, for each γ.",
)
