"""Paper 003, Fig. 1: annealed Langevin dynamics. Diverse, but not sharp; and does a search over L, ε and T help?"""

from __future__ import annotations

from undrift.study.base import Claim, Measured, Seen, Study, below, plus_minus
from undrift.study.context import ENOUGH, StudyContext
from undrift.study.figure import digits
from undrift.study.p003_samplers import LEVELS, annealed, drawn

SEARCH = [(levels, snr) for levels in (10, 30) for snr in (0.1, 0.16, 0.25, 0.4)]  # T follows: 300 evaluations in all


def measure(context: StudyContext) -> Measured:
    run, budget, few = drawn(context, "annealed Langevin", 1000), context.count(300, least=30), context.count(ENOUGH, 500, ENOUGH)
    found = {}
    for levels, snr in SEARCH:
        context.tell(f"annealed Langevin, L = {levels}, snr {snr:g}")
        found[levels, snr] = annealed(context, levels, max(1, budget // levels), snr, few)
    return {
        "run": run,
        "search": {k: (v.figures["frechet"], v.contrast) for k, v in found.items()},
        "floor": context.floor,
        "spec": context.data[0].spec,
    }


def _diverse(m: Measured) -> Seen:
    own, floor = m["run"].figures["coverage"], m["floor"]["coverage"]
    return f"coverage {plus_minus(own)}, held-out digits {plus_minus(floor)}", own.value > 0.7 * floor.value


def _not_sharp(m: Measured) -> Seen:
    return f"contrast {m['run'].contrast:.2f} of real digits'", abs(m["run"].contrast - 1) > 0.05


def _no_help(m: Measured) -> Seen:
    usual = m["search"][LEVELS, 0.16]
    (levels, snr), best = min(m["search"].items(), key=lambda item: float(item[1][0].value))
    text = f"{plus_minus(usual[0])} as it was, best {plus_minus(best[0])} (L = {levels}, snr {snr:g})"
    return text, below(best[0], usual[0], paired=False) is not True


STUDY = Study(
    name="003-fig1",
    title="Annealed Langevin dynamics",
    source="sec. 5.1, Fig. 1, Algorithm 1",
    covers=("X12",),
    measure=measure,
    claims=(
        Claim(
            "samples are diverse",
            "sec. 5.1",
            "coverage at least 0.7 of that of held-out digits",
            _diverse,
            "the training is short",
        ),
        Claim(
            "digits “are not as sharp as we would like”",
            "sec. 5.1",
            "contrast off that of real digits by more than 5 %",
            _not_sharp,
            "ours end with the denoised mean, which Algorithm 1 lacks",
        ),
        Claim(
            "a search over L, ε, T “did not significantly improve the results”",
            "sec. 5.1",
            "no setting of eight lowers the Fréchet distance by two standard errors, at 300 evaluations",
            _no_help,
            "the step does matter: steps that are too small or too few do not reach the law of a level before the next",
        ),
    ),
    figure=lambda m: digits(m["run"].x[:64], m["spec"], 8),
    caption="64 samples by annealed Langevin, ten levels of 100 moves.",
    table=lambda m: (
        [["L", "snr = √ε/2σ_L", "Fréchet", "contrast"]]
        + [[str(k[0]), f"{k[1]:g}", plus_minus(e), f"{c:.2f}"] for k, (e, c) in m["search"].items()]
    ),
)
