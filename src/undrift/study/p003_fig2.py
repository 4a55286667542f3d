"""Paper 003, Fig. 2: the reverse SDE by Euler-Maruyama. Sharper than Langevin, as diverse?"""

from __future__ import annotations

from undrift.metrics.estimate import Estimate
from undrift.study.base import SLIGHT, Claim, Measured, Seen, Study, below, every, plus_minus
from undrift.study.context import StudyContext
from undrift.study.figure import digits
from undrift.study.p003_samplers import drawn


def measure(context: StudyContext) -> Measured:
    return {
        "sde": drawn(context, "reverse SDE", 1000), "langevin": drawn(context, "annealed Langevin", 1000, True), "floor": context.floor,
        "spec": context.data[0].spec,
    }  # fmt: skip


def _sharper(m: Measured) -> Seen:
    sde, langevin = m["sde"], m["langevin"]
    text = (
        f"contrast {plus_minus(sde.contrast)} of real digits', Langevin as printed {plus_minus(langevin.contrast)}; "
        f"Fréchet {plus_minus(sde.figures['frechet'])}, Langevin {plus_minus(langevin.figures['frechet'])}"
    )
    nearer = below(_off(sde.contrast), _off(langevin.contrast), False)
    return text, every(nearer, below(sde.figures["frechet"], langevin.figures["frechet"], False, SLIGHT))


def _off(contrast: Estimate) -> Estimate:
    """How far off one, on whichever side."""
    sign = 1 if contrast.value > 1 else -1
    return Estimate(
        abs(contrast.value - 1), *(tuple(sign * (r - 1) for r in part) for part in (contrast.replicates, contrast.reference))
    )


def _diverse(m: Measured) -> Seen:
    own, floor = m["sde"].figures["coverage"], m["floor"]["coverage"]
    return f"coverage {plus_minus(own)}, held-out digits {plus_minus(floor)}", below(floor.times(0.7), own, False)


STUDY = Study(
    name="003-fig2",
    title="The reverse SDE",
    source="sec. 5.2, Fig. 2, Algorithm 2",
    covers=("X13",),
    measure=measure,
    claims=(
        Claim(
            "“sharper samples than with Langevin dynamics, as expected”",
            "sec. 5.2",
            f"contrast nearer to that of real digits, and a Fréchet distance higher by less than {SLIGHT:g}, at 1,000 evaluations each, by two standard errors",
            _sharper,
            "the noise that Algorithm 1 leaves, 0.02, is not seen on 8 x 8 digits, so Langevin is as sharp",
        ),
        Claim(
            "“the diversity is still good”",
            "sec. 5.2",
            "coverage over 0.7 of that of held-out digits, by two standard errors",
            _diverse,
            "the training is short",
        ),
    ),
    figure=lambda m: digits(m["sde"].x[:64], m["spec"], 8),
    caption="64 samples by the reverse SDE, 1,000 steps of Euler-Maruyama.",
)
