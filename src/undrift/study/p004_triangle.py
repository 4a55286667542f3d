"""Paper 004: quality, diversity and speed, of which one is said to be paid. How many evaluations do quality and diversity take?"""

from __future__ import annotations

from functools import partial

import undrift as ud
from undrift.plot.chart import Point, chart
from undrift.study.base import OURS, Claim, Measured, Seen, Study, below, plus_minus
from undrift.study.context import StudyContext

EVALUATIONS, MANY, FEW, ANCESTRAL = (3, 5, 10, 20, 50), 200, 10, "ancestral"
LOSS = 0.05  # of precision or of coverage, that nobody would mind
FIGURES = {"precision": "quality: precision", "coverage": "diversity: coverage"}


def measure(context: StudyContext) -> Measured:
    """The same noise and classes for all: ABM in few steps, and DDPM's ancestral steps in few and in many."""
    model, labels, found = context.model("000-conditional"), context.classes, {}
    ways = [("ABM", ud.ABM(), n) for n in EVALUATIONS] + [(ANCESTRAL, ud.Ancestral(), n) for n in (*EVALUATIONS, MANY)]
    for name, sampler, steps in ways:
        context.tell(f"{name}, {steps} evaluations")
        y = context.shown(model.draw(len(labels), labels.tolist(), scale=1.0, sampler=sampler, steps=steps))
        found[name, steps] = context.figures(y, labels)
    return {"found": found, "floor": context.floor}


def _kept(m: Measured, what: str) -> Seen:
    """Samples share their starting noise."""
    few, many = m["found"]["ABM", FEW][what], m["found"][ANCESTRAL, MANY][what]
    text = f"{what} {plus_minus(few)} in {FEW} evaluations, {plus_minus(many)} in {MANY}; held-out digits {plus_minus(m['floor'][what])}"
    return text, below(many, few, margin=LOSS)


def _paid(m: Measured) -> Seen:
    few, many = (m["found"][ANCESTRAL, n]["precision"] for n in (FEW, MANY))
    return f"precision {plus_minus(few)} in {FEW} ancestral steps, {plus_minus(many)} in {MANY}", below(few, many)


STUDY = Study(
    name="004-triangle",
    title="Quality, diversity, speed: which is paid?",
    source="“the generative learning trilemma”",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "sampling is slow: with DDPM's steps, few of them cost quality",
            "trilemma slide",
            f"lower precision in {FEW} ancestral steps than in {MANY}, by two standard errors",
            _paid,
            "so few steps are enough for digits",
        ),
        *(
            Claim(
                f"must {what} be paid for speed?",
                "trilemma slide",
                f"no: {FEW} evaluations of ABM lose less than {LOSS:g} of {figure} to {MANY} ancestral steps, by two standard errors",
                partial(_kept, what=figure),
                "few steps miss some of what many draw",
                OURS,
            )
            for figure, what in (("precision", "quality"), ("coverage", "diversity"))
        ),
    ),
    figure=lambda m: chart(
        {
            f"{said}, {name}": [
                Point(n, f[key].value, f[key].standard_error) for (way, n), f in m["found"].items() if way == name
            ]
            for key, said in FIGURES.items()
            for name in ("ABM", ANCESTRAL)
        },
        "evaluations for each sample",
        "figure, 1 is best",
        size=(760, 420),
    ),
    caption="Precision and coverage against evaluations, by ABM and by ancestral steps.",
    table=lambda m: (
        [["way", "evaluations", *FIGURES.values(), "Fréchet"]]
        + [[way, str(n), *(plus_minus(f[k]) for k in (*FIGURES, "frechet"))] for (way, n), f in m["found"].items()]
    ),
)
