"""What 000's reader would ask next: a classifier's gradient against classifier-free guidance, on one network. Cost, obedience, diversity."""

from __future__ import annotations

import time
from typing import Any

import undrift as ud
from undrift.metrics.estimate import Estimate, mean
from undrift.plot.chart import Point, chart
from undrift.study.base import OURS, Claim, Measured, Seen, Study, below, plus_minus, settled, within
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels

FREE, CLASSIFIER = "classifier-free", "classifier"
SCALES = {FREE: (1.0, 1.5, 2.0, 4.0), CLASSIFIER: (1.0, 3.0, 10.0, 30.0)}
OBEYED = 0.95  # of the samples are of the class that was asked for


def measure(context: StudyContext) -> Measured:
    """The same noise and the classes of the held-out digits for all; ABM in 20 steps."""
    model, classifier, labels = context.model("003-score"), context.noisy_judge, context.classes
    plain, shape = model.denoiser.given(None), (len(labels), *model.spec.shape)

    def drawn(denoiser: ud.AnyDenoiser, cond: Any) -> tuple[Any, float]:
        start = time.perf_counter()
        y = ud.sample(denoiser, shape, ud.ABM(), 20, cond=cond, batch_size=256)
        return context.shown(y), time.perf_counter() - start

    alone = [drawn(plain, None)[1] for _ in range(2)][1]  # the first call sets up
    found, cost, x = {}, {}, {}
    for way, scales in SCALES.items():
        for scale in scales:
            context.tell(f"{way}, scale {scale:g}")
            guided: ud.AnyDenoiser = ud.Mix(model.denoiser, plain, scale) if way == FREE else ud.Tilt(plain, classifier, scale)
            y, seconds = drawn(guided, labels)
            right = mean((context.judge.classify(y) == labels).double())
            found[way, scale], cost[way, scale] = {**context.figures(y, labels), "right": right}, seconds / alone
            x[way, scale] = y[labels == 3][:16]
    return {"found": found, "cost": cost, "floor": context.floor, "x": x, "spec": model.spec}


def _obeys(m: Measured) -> Seen:
    free, classifier = (m["found"][way, 1.0]["right"].times(100) for way in (FREE, CLASSIFIER))
    return f"{plus_minus(free, 1)} % against {plus_minus(classifier, 1)} %", below(classifier, free)


def weakest(m: Measured, way: str) -> tuple[float, dict[str, Estimate]]:
    """The lowest scale that is obeyed, or the one that is obeyed most, with its figures."""
    each = [(scale, m["found"][way, scale]) for scale in SCALES[way]]
    return next((item for item in each if item[1]["right"].value >= OBEYED), max(each, key=lambda item: item[1]["right"].value))


def _said(m: Measured, what: str) -> str:
    """A figure of both, each at the weakest scale that is obeyed."""
    each = {way: weakest(m, way) for way in SCALES}
    return ", ".join(
        f"{way} {plus_minus(g[what])} at scale {s:g} ({100 * g['right'].value:.0f} % obeyed)" for way, (s, g) in each.items()
    )


def _better(m: Measured) -> Seen:
    free, classifier = (weakest(m, way)[1]["frechet"] for way in (FREE, CLASSIFIER))
    return f"Fréchet: {_said(m, 'frechet')}", below(free, classifier)


def _diverse(m: Measured) -> Seen:
    free, classifier = (weakest(m, way)[1]["diversity"] for way in (FREE, CLASSIFIER))
    return f"diversity within classes: {_said(m, 'diversity')}", within(free.minus(classifier), low=-0.05)


def _costs(m: Measured) -> Seen:
    free, classifier = (m["cost"][way, SCALES[way][-1]] for way in (FREE, CLASSIFIER))
    ratio = classifier / free  # a clock that is looked at once may be a tenth off
    return f"{free:.1f} times a sample without a class; with a classifier {classifier:.1f} times", settled(
        (0.9 * ratio, 1.1 * ratio), low=1
    )


def of_way(m: Measured, way: str) -> list[dict[str, Estimate]]:
    return [m["found"][way, scale] for scale in SCALES[way]]


def table(m: Measured) -> list[list[str]]:
    shown = {"frechet": "Fréchet", "precision": "precision", "recall": "recall", "diversity": "diversity"}
    rows = [
        [way, f"{scale:g}", f"{100 * g['right'].value:.1f}", *(plus_minus(g[k]) for k in shown), f"{m['cost'][way, scale]:.1f}"]
        for (way, scale), g in m["found"].items()
    ]
    return [["guided by", "scale", "recognised, %", *shown.values(), "cost"], *rows]


STUDY = Study(
    name="000-two-guides",
    title="A classifier against classifier-free guidance, on one network",
    source="sec. 3.1 and 3.2, which derive both and try one",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "is a class that the network is told obeyed more often than a classifier's gradient, both at scale 1?",
            "sec. 3.2",
            "a larger share recognised, by two standard errors",
            _obeys,
            "this network's own idea of a class is no better than the classifier's",
            OURS,
        ),
        Claim(
            "and where both are obeyed, which is nearer to the data?",
            "sec. 3.2",
            f"classifier-free: a lower Fréchet distance, each at its weakest scale with {100 * OBEYED:.0f} % recognised",
            _better,
            "the classifier's gradient leads to samples that are as near",
            OURS,
        ),
        Claim(
            "is it as diverse there?",
            "sec. 3.2",
            "diversity within classes lower by less than 0.05, by two standard errors",
            _diverse,
            "guidance by the network itself narrows the classes more",
            OURS,
        ),
        Claim(
            "to differentiate the classifier “is costly”",
            "sec. 3.2",
            "more time for a sample than classifier-free guidance takes, which asks the network twice",
            _costs,
            "the classifier is small: this network twice takes longer than the network once and the classifier's gradient",
        ),
    ),
    figure=lambda m: panels(
        {
            **{f"{way}, {scale:g}": digits(x, m["spec"], 4) for (way, scale), x in m["x"].items()},
            "": chart(
                {
                    way: [Point(100 * g["right"].value, g["frechet"].value, g["frechet"].standard_error) for g in of_way(m, way)]
                    for way in SCALES
                },
                "% recognised as the class that was asked for",
                "Fréchet distance",
                size=(560, 320),
            ),
        },
        4,
    ),
    caption="Threes of the same noise by each way and scale; the Fréchet distance against how often the class is obeyed.",
    table=table,
)
