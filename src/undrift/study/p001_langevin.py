"""Paper 001, notebook: 1,000 particles, 10,000 Langevin steps on the true score of two Gaussians on a line."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import kstest
from torch import Tensor

import undrift as ud
from undrift.plot.chart import histogram
from undrift.study.base import Claim, Measured, Seen, Study
from undrift.study.context import StudyContext
from undrift.study.figure import panels
from undrift.study.p001_fig3 import clean_score
from undrift.study.p001_fig4 import langevin

AFTER = (10, 100, 1000, 10_000)
LAW = ud.GaussianMixture([[-2.0], [2.0]], 1.0, [0.3, 0.7])  # the means are the paper's; spread and weights are ours


def distance(x: Tensor) -> float:
    """The Kolmogorov distance of `(n, 1)` samples to the law: the largest gap of the distribution functions."""

    def below(x: Any) -> Any:
        standard = (torch.as_tensor(x)[:, None] - LAW.means[:, 0]) / LAW.variance[:, 0].sqrt()
        return (torch.special.ndtr(standard) @ LAW.log_weights.exp()).numpy()

    return float(kstest(x.flatten().numpy(), below)[0])


def measure(context: StudyContext) -> Measured:
    n = context.count(1000, least=20)
    noise = ud.Noise(range(n)).fold("line")
    x, done, seen = noise.fold("start").normal(torch.empty(n, 1, dtype=torch.float64)), 0, {}
    for steps in AFTER:
        more = context.count(steps) - done
        if more > 0:
            x, done = langevin(lambda y: clean_score(LAW, y), x, 0.01, more, noise.fold(done)), done + more
        seen[steps] = x
    truth = LAW.sample(n, noise.fold("truth"))
    return {"n": n, "x": seen, "gap": {s: distance(x) for s, x in seen.items()}, "truth": truth, "floor": distance(truth)}


def _converges(m: Measured) -> Seen:
    bound = 1.63 / m["n"] ** 0.5  # exact draws exceed it once in a hundred
    text = f"{m['gap'][AFTER[-1]]:.3f} after {AFTER[-1]:,} steps ({m['gap'][10]:.3f} after 10); exact draws {m['floor']:.3f}"
    return text, m["gap"][AFTER[-1]] < bound


STUDY = Study(
    name="001-langevin",
    title="Langevin dynamics on a line",
    source="Theorems 1 and 2, code",
    covers=("X11",),
    measure=measure,
    claims=(
        Claim(
            "Langevin dynamics on the true score approach the law (10,000 steps of .01, 1,000 particles)",
            "Theorem 2, code",
            "Kolmogorov distance below 1.63/√n, which exact draws exceed once in a hundred",
            _converges,
        ),
    ),
    figure=lambda m: panels(
        {f"after {s:,} steps": histogram({"particles": x, "exact": m["truth"]}, "x", size=(360, 220)) for s, x in m["x"].items()},
        2,
    ),
    caption="Particles and exact draws after 10, 100, 1,000 and 10,000 steps.",
    toy=True,
)
