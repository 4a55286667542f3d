"""Paper 003, Figs 1 to 4: its four samplers on one network at equal numbers of evaluations, which several studies compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

import undrift as ud
from undrift import times as grids
from undrift.metrics.estimate import Estimate
from undrift.study.context import StudyContext

PROCESS = ud.VE(0.02, 20.0)  # ours: the paper prints no noise levels, only dx = sigma^t dw
LEVELS = 10
BUDGETS = (100, 300, 1000)
WAYS: dict[str, ud.Sampler] = {
    "annealed Langevin": ud.AnnealedLangevin(),
    "reverse SDE": ud.EulerMaruyama(),
    "probability flow": ud.RungeKutta(),
    "predictor-corrector": ud.PredictorCorrector(ud.ReverseDiffusion(), ud.Langevin(0.16)),
}


@dataclass(frozen=True)
class Drawn:
    """Samples with their figures; `evaluations` is what one cost."""

    x: Tensor
    figures: dict[str, Any]
    contrast: Estimate
    evaluations: int


def ladder(levels: int = LEVELS) -> ud.SMLD:
    """The noise levels of annealed Langevin: geometric, from the process's largest to 0.02."""
    return ud.SMLD(levels, 0.02, PROCESS.sigma_max)


def drawn(context: StudyContext, way: str, budget: int, printed: bool = False) -> Drawn:
    """Samples by one of `WAYS` at about a number of evaluations, drawn once for all studies of a context.

    `printed`: without the denoised mean at the end, as the paper's algorithms end.
    """
    return context.once(("003", way, budget, printed), lambda: _drawn(context, way, budget, printed))


def _drawn(context: StudyContext, way: str, budget: int, printed: bool) -> Drawn:
    context.tell(f"sampling by {way}, {budget} evaluations{', with noise in the last step' if printed else ''}")
    budget = context.count(budget, least=20)
    if way == "annealed Langevin":
        return annealed(context, LEVELS, max(1, budget // LEVELS), printed=printed)
    sampler = WAYS[way]
    steps = sampler.steps_within(budget)
    return _judged(context, PROCESS, ud.Printed(sampler) if printed else sampler, grids.uniform(PROCESS, steps))


def annealed(
    context: StudyContext, levels: int, moves: int, snr: float = 0.16, n: int | None = None, printed: bool = False
) -> Drawn:
    """Annealed Langevin with `moves` at each of the levels."""
    process = ladder(levels)
    sampler = ud.AnnealedLangevin(corrector=ud.Langevin(snr), corrections=moves)
    return _judged(context, process, ud.Printed(sampler) if printed else sampler, process.levels, n)


def _judged(context: StudyContext, process: ud.Process, sampler: ud.Sampler, times: Tensor, n: int | None = None) -> Drawn:
    """Samples of the score network seen through a process, without a class."""
    model, n = context.model("003-score"), n or context.samples
    y = context.shown(ud.sample(model.denoiser.given(None).using(process), (n, *model.spec.shape), sampler, times))
    return Drawn(y, context.figures(y), context.contrast(y), sampler.evaluations(len(times) - 1) or 0)
