"""Paper 004, trade-off slide: quality gained and diversity lost as the guidance scale grows."""

from __future__ import annotations

from undrift.plot.chart import Point, chart
from undrift.study.base import Claim, Measured, Seen, Study, below, plus_minus
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels

SCALES = (1.0, 2.0, 4.0)  # the slide's labels are w = scale - 1: none, 1, 3
FIGURES = {"precision": "precision", "diversity": "diversity", "recall": "recall", "coverage": "coverage", "frechet": "Fréchet"}


def measure(context: StudyContext) -> Measured:
    """The same noise and classes at every scale: those of the held-out digits that the floor is of."""
    model, labels, found, x = context.model("000-conditional"), context.classes, {}, {}
    for scale in SCALES:
        context.tell(f"guidance scale {scale:g}")
        y = context.shown(model.draw(len(labels), labels.tolist(), scale=scale, sampler="abm", steps=20))
        found[scale] = {**context.figures(y, labels), "right": context.recognised(y, labels)}
        x[scale] = y[labels == 3][:25]
    return {"found": found, "x": x, "floor": context.floor, "spec": model.spec}


def _quality(m: Measured) -> Seen:
    first, last = (m["found"][s]["precision"] for s in (SCALES[0], SCALES[-1]))
    return f"precision {plus_minus(first)} to {plus_minus(last)}", below(first, last)


def _diversity(m: Measured) -> Seen:
    first, last = (m["found"][s]["diversity"] for s in (SCALES[0], SCALES[-1]))
    return f"diversity within classes {plus_minus(first)} to {plus_minus(last)}", below(last, first)


STUDY = Study(
    name="004-tradeoff",
    title="Quality against diversity under guidance",
    source="“trade-off for sample quality and sample diversity”",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "guidance leads to “better individual sample quality”",
            "trade-off slide",
            "higher precision, by two standard errors",
            _quality,
        ),
        Claim(
            "“but less sample diversity”", "trade-off slide", "less diversity within classes, by two standard errors", _diversity
        ),
    ),
    figure=lambda m: panels(
        {
            **{f"scale {s:g} (w = {s - 1:g})": digits(x, m["spec"], 5) for s, x in m["x"].items()},
            "": chart(
                {
                    k: [Point(s, f[k].value, f[k].standard_error) for s, f in m["found"].items()]
                    for k in ("precision", "diversity", "recall")
                },
                "guidance scale",
                "figure",
                size=(560, 320),
            ),
        },
        2,
    ),
    caption="25 threes at each scale, of the same noise; and the figures.",
    table=lambda m: (
        [["scale", "recognised, %", *FIGURES.values()]]
        + [[f"{s:g}", f"{100 * f['right']:.1f}", *(plus_minus(f[k]) for k in FIGURES)] for s, f in m["found"].items()]
        + [["held-out digits", "", *(plus_minus(m["floor"][k]) if k in m["floor"] else "" for k in FIGURES)]]
    ),
)
