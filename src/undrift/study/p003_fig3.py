"""Paper 003, Fig. 3: the probability flow by a black-box solver: evaluations it takes, and how realistic its samples are."""

from __future__ import annotations

import torch

import undrift as ud
from undrift.study.base import SLIGHT, Claim, Measured, Seen, Study, below, every, like_digits, plus_minus, within
from undrift.study.context import StudyContext
from undrift.study.figure import digits
from undrift.study.p003_samplers import PROCESS, drawn


def measure(context: StudyContext) -> Measured:
    """A black box: `Adaptive`, at the tolerance of the tutorials (1e-3 here, per sample), its calls counted."""
    model, n = context.model("003-score"), context.samples
    counted = ud.Counted(model.denoiser.given(None).using(PROCESS))
    times = torch.tensor([PROCESS.t_max, 0.02, PROCESS.t_min], dtype=torch.float64)
    y = context.shown(ud.sample(counted, (n, *model.spec.shape), ud.Adaptive(rtol=1e-3, atol=1e-3), times, batch_size=n))
    return {
        "box": context.figures(y), "calls": counted.calls, "x": y[:64],
        "sde": drawn(context, "reverse SDE", 1000), "floor": context.floor, "contrast": context.contrast(y), "spec": model.spec,
    }  # fmt: skip


def _fast(m: Measured) -> Seen:
    box, many = m["box"]["frechet"], m["sde"]
    text = f"Fréchet {plus_minus(box)} in {m['calls']} evaluations, reverse SDE {plus_minus(many.figures['frechet'])} in {many.evaluations}"
    good = like_digits(m["box"]["precision"], m["floor"]["precision"])
    return text, every(good, m["calls"] <= 200, below(box, many.figures["frechet"], False, SLIGHT))


def _unrealistic(m: Measured) -> Seen:
    own, sde, floor = m["box"]["precision"], m["sde"].figures["precision"], m["floor"]["precision"]
    text = f"precision {plus_minus(own)}, reverse SDE {plus_minus(sde)}, held-out digits {plus_minus(floor)}"
    return text, below(own, sde, False)


def _sharp(m: Measured) -> Seen:
    return f"contrast {plus_minus(m['contrast'])} of real digits'", within(m["contrast"], 0.9, 1.1)


STUDY = Study(
    name="003-fig3",
    title="The probability flow by a black-box solver",
    source="sec. 5.3, Fig. 3",
    covers=("X14",),
    measure=measure,
    claims=(
        Claim(
            "“only ~100 iterations needed, vs. ~1000”",
            "sec. 5.3",
            f"at most 200, and a Fréchet distance higher than that of the reverse SDE at 1,000 by less than {SLIGHT:g}, by two standard errors",
            _fast,
            "a flow adds no noise that would forget the errors of its network",
        ),
        Claim(
            "samples “are not realistic”",
            "sec. 5.3",
            "precision below that of the reverse SDE, by two standard errors",
            _unrealistic,
            "a flow adds no noise that would forget the errors of its network, so it shows them; a better network has fewer",
        ),
        Claim("“although sharp”", "sec. 5.3", "contrast within 10 % of that of real digits, two standard errors and all", _sharp),
    ),
    figure=lambda m: digits(m["x"], m["spec"], 8),
    caption="64 samples by the probability flow, solved by steps chosen for each sample.",
)
