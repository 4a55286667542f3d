"""Paper 001, sec. 7: if a digit appears in the last 30 % only, can the first 70 % of the steps be left out?"""

from __future__ import annotations

import torch
from PIL import Image

import undrift as ud
from undrift import times as grids
from undrift.plot.chart import Point, chart
from undrift.study.base import SLIGHT, Claim, Measured, Seen, Study, below, every, like_digits, plus_minus
from undrift.study.context import StudyContext
from undrift.study.p001_samplers import drawn


def measure(context: StudyContext) -> Measured:
    """DDPM's network: its 1,000 steps; those without the first 70 %; and few steps, even or where they are needed."""
    whole, model = drawn(context, "DDPM"), context.model("001-ddpm")
    process, n, steps = model.denoiser.process, len(whole.x), context.count(1000, least=20)
    even = grids.uniform(process, steps)
    cut = torch.cat([even[:1], even[round(0.7 * steps) :]])
    figures = context.figures(whole.x)
    found = {"whole": (whole.evaluations, figures["frechet"])}
    for name, sampler, times in (
        ("cut", ud.Ancestral(), cut),
        *((f"ancestral {k}", ud.Ancestral(), grids.uniform(process, k)) for k in (10, 20, 50, 100)),
        *((f"abm {k}", ud.ABM(), grids.straight(process, k)) for k in (5, 10, 20)),
    ):
        context.tell(f"sampling {name}")
        y = context.shown(ud.sample(model.denoiser, (n, *model.spec.shape), sampler, times))
        found[name] = sampler.evaluations(len(times) - 1) or 0, context.figures(y)["frechet"]
    good = like_digits(figures["precision"], context.floor["precision"])
    return {"found": found, "floor": context.floor["frechet"], "good": good}


def _cut(m: Measured) -> Seen:
    (_, whole), (calls, cut) = m["found"]["whole"], m["found"]["cut"]
    holds = below(cut, whole, paired=False, margin=SLIGHT)
    return f"{plus_minus(cut)} with {calls} evaluations, {plus_minus(whole)} with all", every(holds, m["good"])


def _few(m: Measured) -> Seen:
    (all_calls, whole), (calls, few) = m["found"]["whole"], m["found"]["abm 10"]
    holds = below(few, whole, paired=False, margin=SLIGHT)
    return f"ABM: {plus_minus(few)} with {calls} evaluations, {plus_minus(whole)} with {all_calls}", every(holds, m["good"])


def _figure(m: Measured) -> Image.Image:
    lines: dict[str, list[Point]] = {}
    for name, (calls, e) in m["found"].items():
        line = "ancestral, even" if name in ("whole", "cut") or name.startswith("ancestral") else "ABM, straight"
        line = "ancestral, first 70 % left out" if name == "cut" else line
        lines.setdefault(line, []).append(Point(calls, e.value, e.standard_error))
    floor = m["floor"]
    band = (floor.value - floor.standard_error, floor.value + floor.standard_error)
    return chart(
        {k: sorted(v) for k, v in lines.items()},
        "evaluations for each sample",
        "Fréchet distance",
        band,
        "held-out digits",
        size=(760, 420),
    )


STUDY = Study(
    name="001-shorten",
    title="Leaving out the first 70 % of the steps",
    source="sec. 7",
    covers=("X7", "X8"),
    measure=measure,
    claims=(
        Claim(
            "“the generation process could be potentially shortened”: by leaving out the first 70 %, which are noise to the eye",
            "sec. 7",
            f"a Fréchet distance higher by less than {SLIGHT:g}, by two standard errors",
            _cut,
            "what looks like noise already decides what the digit will be, and one ancestral step is no substitute for 700",
        ),
        Claim(
            "by other steps (this “requires further testing”)",
            "sec. 7",
            f"ten evaluations of ABM: a Fréchet distance higher than that of all by less than {SLIGHT:g}, by two standard errors",
            _few,
            "ten steps miss some of the detail that this network has",
        ),
    ),
    figure=_figure,
    caption="Fréchet distance against evaluations; the grey band is what held-out digits get.",
    table=lambda m: [["way", "evaluations", "Fréchet"], *([k, str(c), plus_minus(e)] for k, (c, e) in m["found"].items())],
)
