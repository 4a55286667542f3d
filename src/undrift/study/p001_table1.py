"""Paper 001, Table 1 and Figs 8 to 10: SMLD, DDPM and the SDE on the same data. Which is best?"""

from __future__ import annotations

from undrift.study.base import Claim, Measured, Seen, Study, below, every, plus_minus
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels
from undrift.study.p001_samplers import WAYS, drawn

PAPER = {  # Table 1: levels, epochs of MNIST's 60,000 digits, sampler
    "SMLD": ("σ 0.01 to 1, T = 10", 40, "Langevin"),
    "DDPM": ("β 1e-4 to 0.02, T = 1000", 40, "ancestral"),
    "SDE": ("the same β", 45, "ancestral"),
}
FIGURES = {"frechet": "Fréchet", "kernel": "KID x 1000", "precision": "precision", "recall": "recall", "coverage": "coverage"}


def measure(context: StudyContext) -> Measured:
    train, found, x = context.data[0], {}, {}
    for name, (recipe, _) in WAYS.items():
        run = drawn(context, name)
        trained = context.model(recipe).trained
        found[name] = {
            **{k: v for k, v in context.figures(run.x).items() if k in FIGURES}, "examples": trained["examples"],
            "evaluations": run.evaluations,
        }  # fmt: skip
        x[name] = run.x[:64]
    floor = {k: v for k, v in context.floor.items() if k in FIGURES}
    return {"found": found, "x": x, "floor": floor, "spec": train.spec}


def _best(m: Measured) -> Seen:
    ddpm, others = m["found"]["DDPM"]["frechet"], {k: v["frechet"] for k, v in m["found"].items() if k != "DDPM"}
    lower = [below(ddpm, other, paired=False) for other in others.values()]
    text = f"DDPM {plus_minus(ddpm)}, " + ", ".join(f"{k} {plus_minus(v)}" for k, v in others.items())
    return text, every(*lower)


def _real(m: Measured) -> Seen:
    own, floor = m["found"]["DDPM"]["precision"], m["floor"]["precision"]
    return f"precision {plus_minus(own)}, held-out digits {plus_minus(floor)}", below(floor.times(0.9), own, paired=False)


def table(m: Measured) -> list[list[str]]:
    head = ["model", "levels (paper)", "examples seen, paper", "ours", "sampler", "evaluations", *FIGURES.values()]
    rows = [
        [
            k,
            PAPER[k][0],
            f"{60_000 * PAPER[k][1]:,}",
            f"{v['examples']:,}",
            PAPER[k][2],
            str(v["evaluations"]),
            *(plus_minus(v[f]) for f in FIGURES),
        ]
        for k, v in m["found"].items()
    ]
    return [head, *rows, ["held-out digits", "", "", "", "", "", *(plus_minus(m["floor"][f]) for f in FIGURES)]]


STUDY = Study(
    name="001-table1",
    title="SMLD, DDPM and the SDE compared",
    source="sec. 6 and 7, Table 1, Figs 8 to 10",
    covers=("X6", "X7", "X8"),
    measure=measure,
    claims=(
        Claim(
            "“DDPM generates the highest-fidelity images” (by eye)",
            "sec. 7, Figs 8 to 10",
            "the lowest Fréchet distance, by two standard errors",
            _best,
            "with one network DDPM and the SDE are one process, sampled by one formula: in the paper their trainings differ",
        ),
        Claim(
            "samples of DDPM look like digits (64 shown)",
            "App. A, Fig. 9",
            "precision over 0.9 of that of held-out digits, by two standard errors",
            _real,
            "the training is short",
        ),
    ),
    figure=lambda m: panels({k: digits(x, m["spec"], 8, max(1, 32 // m["spec"].shape[-1])) for k, x in m["x"].items()}),
    caption="64 samples of each model.",
    table=table,
)
