"""What 003's reader would ask next: predictor-corrector at equal steps and at equal evaluations, the corrector first or last, other predictors."""

from __future__ import annotations

import undrift as ud
from undrift import times as grids
from undrift.metrics.estimate import Estimate
from undrift.plot.chart import Point, chart
from undrift.study.base import OURS, SLIGHT, Claim, Measured, Seen, Study, below, plus_minus
from undrift.study.context import StudyContext
from undrift.study.p003_samplers import PROCESS

STEPS = (50, 150)
CORRECTOR = ud.Langevin(0.16)
SDE, FLOW = "reverse SDE", "flow"
PREDICTORS: dict[str, ud.Sampler] = {SDE: ud.ReverseDiffusion(), FLOW: ud.Euler()}
LAST, FIRST, ALONE, TWICE = "corrector last", "corrector first", "no corrector", "no corrector, twice the steps"
ORDERS = (ALONE, LAST, FIRST, TWICE)


def sampler(predictor: str, order: str) -> ud.Sampler:
    """A predictor alone, or with a corrector on one side."""
    alone = PREDICTORS[predictor]
    return ud.PredictorCorrector(alone, CORRECTOR, corrector_first=order == FIRST) if order in (LAST, FIRST) else alone


def measure(context: StudyContext) -> Measured:
    """The score network without a class, from the same noise; a step of any grid is half as long where there are twice as many."""
    model, n = context.model("003-score"), context.samples
    plain, found = model.denoiser.given(None).using(PROCESS), {}
    for predictor in PREDICTORS:
        for order in ORDERS:
            for steps in STEPS:
                context.tell(f"{predictor}, {order}, {steps} steps")
                count = context.count(2 * steps if order == TWICE else steps, least=4)
                way = sampler(predictor, order)
                y = context.shown(ud.sample(plain, (n, *model.spec.shape), way, grids.uniform(PROCESS, count)))
                found[predictor, order, steps] = context.figures(y), context.contrast(y), way.evaluations(count) or 0
    return {"found": found, "floor": context.floor, "n": n}


def _frechet(m: Measured, predictor: str, order: str, steps: int = STEPS[-1]) -> Estimate:
    found: Estimate = m["found"][predictor, order, steps][0]["frechet"]
    return found


def _better(m: Measured, predictor: str, own: str, other: str, margin: float = 0.0) -> Seen:
    a, b = (_frechet(m, predictor, order) for order in (own, other))
    return f"{own} {plus_minus(a)}, {other} {plus_minus(b)}, {STEPS[-1]} steps", below(a, b, margin=margin)


def table(m: Measured) -> list[list[str]]:
    rows = [
        [
            predictor,
            order,
            str(steps),
            str(calls),
            plus_minus(f["frechet"]),
            plus_minus(f["precision"]),
            plus_minus(f["coverage"]),
            plus_minus(c),
        ]
        for (predictor, order, steps), (f, c, calls) in m["found"].items()
    ]
    return [["predictor", "corrector", "steps", "evaluations", "Fréchet", "precision", "coverage", "contrast"], *rows]


STUDY = Study(
    name="003-correctors",
    title="Correctors: at equal steps, at equal evaluations, before or after",
    source="sec. 5.4, Algorithm 3",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "predictor-corrector “yields the best results”: at as many steps, with twice the evaluations",
            "sec. 5.4",
            "a lower Fréchet distance than its predictor alone, by two standard errors",
            lambda m: _better(m, SDE, LAST, ALONE),
            "the predictor alone is as good with as many steps",
        ),
        Claim(
            "and at as many evaluations?",
            "sec. 5.4",
            "a lower Fréchet distance than its predictor with twice the steps, by two standard errors",
            lambda m: _better(m, SDE, LAST, TWICE),
            "twice the steps of the predictor are a better use of the evaluations",
            OURS,
        ),
        Claim(
            "does it matter whether the corrector comes first (Algorithm 3) or last (the text)?",
            "sec. 5.4, Algorithm 3",
            f"no: first is higher than last by less than {SLIGHT:g}, by two standard errors",
            lambda m: _better(m, SDE, FIRST, LAST, SLIGHT),
            "a corrector that comes first moves at the level that is left, and its last moves are at the lowest level of all",
            OURS,
        ),
        Claim(
            "does a corrector mend the flow as well?",
            "sec. 5.3 and 5.4",
            "a lower Fréchet distance than the flow alone, by two standard errors",
            lambda m: _better(m, FLOW, LAST, ALONE),
            "the flow's own error is small at so many steps, and the corrector adds its bias",
            OURS,
        ),
    ),
    figure=lambda m: chart(
        {
            f"{predictor}, {order}": [
                Point(calls, f["frechet"].value, f["frechet"].standard_error)
                for (p, o, _), (f, _, calls) in m["found"].items()
                if (p, o) == (predictor, order)
            ]
            for predictor in PREDICTORS
            for order in ORDERS
        },
        "evaluations for each sample",
        "Fréchet distance",
        (
            m["floor"]["frechet"].value - m["floor"]["frechet"].standard_error,
            m["floor"]["frechet"].value + m["floor"]["frechet"].standard_error,
        ),
        "held-out digits",
        size=(860, 460),
    ),
    caption="Fréchet distance against evaluations: two predictors, alone and with a corrector after or before each step.",
    table=table,
)
