"""Made numbers for the verdicts of every study: right ones, of which every claim holds, and changes that make one claim fail."""

import torch

from undrift.metrics.estimate import Estimate
from undrift.study.p000_two_guides import CLASSIFIER, FREE, SCALES
from undrift.study.p003_correctors import ALONE, FIRST, FLOW, LAST, PREDICTORS, SDE, STEPS as LENGTHS, TWICE
from undrift.study.p003_fig6 import BLANK, MASKS, REPAINT, REPLACED
from undrift.study.p003_samplers import BUDGETS, LEVELS, WAYS, Drawn


def est(value, error=0.01, k=0):
    """An estimate of this standard error; of different k the errors are independent."""
    signs = torch.randint(0, 2, (20,), generator=torch.Generator().manual_seed(k)).double() * 2 - 1
    spread = ((signs - signs.mean()) ** 2).sum() * 19 / 20
    return Estimate(value, tuple((value + error * signs / spread.sqrt()).tolist()))


def drawn(frechet=0.5, precision=0.9, coverage=0.9, contrast=1.0, k=0):
    figures = {
        "frechet": est(frechet, k=k),
        "precision": est(precision),
        "coverage": est(coverage),
        "kernel": est(1.0),
        "recall": est(0.5),
    }
    return Drawn(torch.zeros(64, 1, 8, 8), figures, est(contrast, k=k), 1000)


FLOOR = {"frechet": est(0.0), "precision": est(0.9), "coverage": est(0.95), "kernel": est(0.0), "recall": est(0.6)}
COUNTS = {
    -2.0: [130] * 4 + [20, 130, 154, 1, 150, 25],
    -1.0: [180] + [100] * 8 + [20],
    -0.5: [42] * 7 + [622, 42, 42],
    0.0: [2] * 7 + [982, 2, 2],
}
NOISY, CLEAN = "noise in the last step", "denoised"
STEPS = {
    (20, NOISY): (est(30.0), 0.6, est(2.0)),
    (20, CLEAN): (est(29.0), 0.6, est(1.9)),
    (50, NOISY): (est(3.0), 0.95, est(1.2)),
    (50, CLEAN): (est(0.5), 0.95, est(1.0)),
    (200, NOISY): (est(0.3), 0.96, est(1.05)),
    (200, CLEAN): (est(0.2), 0.96, est(1.0)),
    (1000, NOISY): (est(0.2), 0.97, est(1.0)),
    (1000, CLEAN): (est(0.2), 0.97, est(1.0)),
}
LATE, EARLY = [0.1] * 14 + [0.9] * 7, [0.1] * 6 + [0.9] * 15
Y = torch.tensor([1] * 30 + [k for k in range(10) if k != 1 for _ in range(10)])


def filled(ones, others, best=0.9):
    """Shares that are still what they were, as one number for each digit."""
    perfect = torch.full((len(Y),), best).double()
    return {
        "a perfect imputer": perfect,
        BLANK: torch.full((len(Y),), 0.1).double(),
        REPLACED: torch.where(Y == 1, ones, others).double(),
        REPAINT: torch.where(Y == 1, 0.1, others).double(),
    }


ENERGY_002 = {
    "Algorithm 2": est(0.0),
    "noise, as printed": est(0.0),
    "mean, first slide": est(0.0),
    "mean, second slide": est(0.0),
    "mean, summary": est(0.0),
    "annealed Langevin": est(0.0),
    "the law": est(0.0),
}
ENERGY_004 = {
    k: est(0.0)
    for k in (
        "re-noised, N(0, I)",
        "re-noised, wide",
        "ancestral",
        "noise at t = 1",
        "the law",
        "guided, s = 1",
        "Tilt",
        "the class",
    )
}
OF_LAW_002, OF_LAW_004 = dict.fromkeys(ENERGY_002, True), dict.fromkeys(ENERGY_004, True)
POINTS = torch.tensor([[1.0, 0.0]]).expand(40, 2)


def runs_003(best="predictor-corrector", margin=0.2):
    return {
        (way, budget): drawn(0.5 - margin * (way == best), k=10 * i + j)
        for i, way in enumerate(WAYS)
        for j, budget in enumerate(BUDGETS)
    }


def search(best):
    return {
        (levels, snr): (est(best if snr == 0.25 else 1.0, k=int(100 * snr) + levels), 1.0)
        for levels in (LEVELS, 30)
        for snr in (0.1, 0.16, 0.25, 0.4)
    }


def guided(frechet, right, diversity, k):
    return {"frechet": est(frechet, k=k), "diversity": est(diversity, k=k + 5), "right": est(right, 0.005, k)}


TWO = {(FREE, s): guided(0.5, 0.97, 0.8, 1) for s in SCALES[FREE]} | {
    (CLASSIFIER, s): guided(1.5, 0.9 if s < 30 else 0.97, 0.8, 2) for s in SCALES[CLASSIFIER]
}
COST = {(way, s): 2.0 if way == FREE else 3.0 for way in SCALES for s in SCALES[way]}
CORRECTED = {
    (predictor, order, steps): ({"frechet": est(value, k=i)}, est(1.0), 100)
    for predictor in PREDICTORS
    for i, (order, value) in enumerate({ALONE: 1.0, LAST: 0.3, FIRST: 0.3, TWICE: 0.9}.items())
    for steps in LENGTHS
}


def corrected(predictor, order, value):
    return {"found": CORRECTED | {(predictor, order, LENGTHS[-1]): ({"frechet": est(value, k=9)}, est(1.0), 100)}}


def triangle(precision, coverage, few):
    """ABM in few steps, ancestral steps in few, and many with 0.9 of both."""

    def figures(precision, coverage, k):
        return {"precision": est(precision, k=k), "coverage": est(coverage, k=k + 5)}

    return {
        ("ABM", 10): figures(precision, coverage, 1),
        ("ancestral", 10): figures(few, 0.9, 2),
        ("ancestral", 200): figures(0.9, 0.9, 3),
    }


FAR = {k: (v, (v - 0.1, v + 0.1)) for k, v in {"plain": 8.0, "start": 9.0, "annealed": 3.0, "data": 2.0}.items()}

# name: right numbers, and for each claim the change that makes it fail
MADE = {
    "000-model": (
        {"n": 500, "right": 0.98, "judge": 0.995, "held_out": 1000, "examples": 10_000, "seconds": 60.0},
        [{"judge": 0.9}, {"right": 0.8}],
    ),
    "000-fig2": (
        {
            "ten": torch.linspace(0.88, 0.95, 10),
            "likeness": torch.linspace(0.83, 0.999, 300),
            "real": torch.linspace(0.83, 0.999, 300),
            "classes": torch.arange(300) % 10,
            "p_beyond": 0.5,
            "drawn_to": 0.5,
        },
        [
            {"likeness": torch.full((300,), 0.99)},
            {"likeness": torch.linspace(0.94, 0.999, 300)},
            {"real": torch.linspace(0.88, 0.95, 300)},
            {"drawn_to": 0.9},
        ],
    ),
    "000-fig3-steps": (
        {"n": 500, "rows": STEPS, "last": {20: 0.23, 50: 0.1, 200: 0.03, 1000: 0.01}},
        [
            {"rows": STEPS | {(20, NOISY): (est(0.5), 0.9, est(1.1))}},
            {"rows": STEPS | {(50, NOISY): (est(3.0), 0.95, est(1.0))}},
            {"rows": STEPS | {(200, NOISY): (est(9.0), 0.9, est(1.1))}},
            {"rows": STEPS | {(20, CLEAN): (est(2.0), 0.95, est(1.02))}},
        ],
    ),
    "000-fig3-guidance": (
        {"n": 500, "of 7": {-4.0: 0.0, -1.0: 0.1, 1.0: 1.0, 10.0: 0.99}},
        [
            {"of 7": {-4.0: 0.3, -1.0: 0.1, 1.0: 1.0, 10.0: 1.0}},
            {"of 7": {-4.0: 0.0, -1.0: 0.5, 1.0: 1.0, 10.0: 1.0}},
            {"of 7": {-4.0: 0.0, -1.0: 0.1, 1.0: 0.7, 10.0: 1.0}},
            {"of 7": {-4.0: 0.0, -1.0: 0.1, 1.0: 1.0, 10.0: 0.5}},
        ],
    ),
    "000-fig4": (
        {"n": 1000, "counts": COUNTS, "p": 1e-9, "expected": [0.1] * 10},
        [
            {"counts": COUNTS | {-2.0: [100] * 4 + [20, 100, 100, 200, 155, 25]}},
            {"counts": COUNTS | {-2.0: [100] * 4 + [145, 100, 150, 5, 50, 150]}},
            {"counts": COUNTS | {-0.5: [90] * 7 + [190, 90, 90]}},
            {"counts": COUNTS | {0.0: [60] * 7 + [460, 60, 60]}},
            {"p": 0.4},
        ],
    ),
    "000-two-guides": (
        {"found": TWO, "cost": COST, "floor": {"diversity": est(1.0)}},
        [
            {"found": TWO | {(CLASSIFIER, 1.0): guided(1.5, 0.999, 0.8, 2)}},
            {"found": TWO | {(CLASSIFIER, 30.0): guided(0.1, 0.97, 0.8, 2)}},
            {"found": TWO | {(FREE, 1.0): guided(0.5, 0.97, 0.5, 1)}},
            {"cost": COST | {(FREE, 4.0): 5.0}},
        ],
    ),
    "001-fig3": ({"dense": 0.01, "empty": 0.4}, [{"dense": 0.2}, {"empty": 0.1}]),
    "001-fig4": (
        {
            "n": 500,
            "up": {"plain": 0.5, "annealed": 0.1, "truth": 0.1},
            "spread": {"annealed": 0.1, "to .01": 0.1},
            "x": dict.fromkeys(("annealed", "to .01"), -torch.ones(500, 2)),
        },
        [
            {"up": {"plain": 0.1, "annealed": 0.1}},
            {"up": {"plain": 0.5, "annealed": 0.3}},
            {"spread": {"annealed": 0.064, "to .01": 0.1}},
            {"spread": {"annealed": 0.1, "to .01": 0.064}},
        ],
    ),
    "001-langevin": ({"n": 1000, "gap": {10: 0.4, 10_000: 0.02}, "floor": 0.02}, [{"gap": {10: 0.4, 10_000: 0.2}}]),
    "001-figs5-7": (
        {"n": 300, "seen": {"SMLD": EARLY, "DDPM": LATE, "SDE": LATE}, "guess": {"SMLD": EARLY, "DDPM": EARLY, "SDE": EARLY}},
        [
            {"seen": {"SMLD": LATE, "DDPM": LATE, "SDE": LATE}},
            {"seen": {"SMLD": EARLY, "DDPM": EARLY, "SDE": LATE}},
            {"seen": {"SMLD": EARLY, "DDPM": LATE, "SDE": EARLY}},
        ],
    ),
    "001-table1": (
        {
            "found": {"SMLD": drawn(1.0, k=1).figures, "DDPM": drawn(0.5, k=2).figures, "SDE": drawn(0.9, k=3).figures},
            "floor": FLOOR,
        },
        [
            {"found": {"SMLD": drawn(1.0, k=1).figures, "DDPM": drawn(0.9, k=2).figures, "SDE": drawn(0.5, k=3).figures}},
            {"found": {"SMLD": drawn(1.0, k=1).figures, "DDPM": drawn(0.5, 0.4, k=2).figures, "SDE": drawn(0.9, k=3).figures}},
        ],
    ),
    "001-shorten": (
        {
            "found": {"whole": (1000, est(0.5, k=1)), "cut": (301, est(0.51, k=2)), "abm 10": (10, est(0.5, k=3))},
            "floor": est(0.0),
            "good": True,
        },
        [
            {"found": {"whole": (1000, est(0.5, k=1)), "cut": (301, est(2.0, k=2)), "abm 10": (10, est(0.5, k=3))}},
            {"found": {"whole": (1000, est(0.5, k=1)), "cut": (301, est(0.5, k=2)), "abm 10": (10, est(2.0, k=3))}},
        ],
    ),
    "002-algorithms": (
        {
            "excess": 0.01,
            "energy": ENERGY_002,
            "of the law": OF_LAW_002,
            "known": (POINTS, POINTS),
            "conditional": est(0.0),
            "given": True,
        },
        [
            {"excess": 0.2},
            *(
                {"of the law": OF_LAW_002 | {name: False}}
                for name in ("Algorithm 2", "noise, as printed", "mean, second slide", "annealed Langevin")
            ),
            {"known": (POINTS + 0.1, POINTS)},
            {"given": False},
        ],
    ),
    "003-fig1": (
        {"run": drawn(), "printed": drawn(contrast=0.8), "search": search(1.0), "floor": FLOOR},
        [{"run": drawn(coverage=0.2)}, {"printed": drawn(contrast=1.0)}, {"search": search(-2.0)}],
    ),
    "003-fig2": (
        {"sde": drawn(0.4, k=1), "langevin": drawn(0.6, contrast=0.8, k=2), "floor": FLOOR},
        [{"sde": drawn(2.0, k=1)}, {"sde": drawn(0.4, coverage=0.1, k=1)}],
    ),
    "003-fig3": (
        {
            "calls": 100,
            "sde": drawn(0.4, k=2),
            "box": {"precision": est(0.5), "frechet": est(0.4, k=1)},
            "contrast": est(1.0),
            "floor": FLOOR,
        },
        [{"calls": 900}, {"box": {"precision": est(0.97), "frechet": est(0.4, k=1)}}, {"contrast": est(1.4)}],
    ),
    "003-fig4": (
        {"runs": runs_003(), "floor": FLOOR},
        [{"runs": runs_003() | {("reverse SDE", budget): drawn(0.01, k=77)}} for budget in BUDGETS],
    ),
    "003-correctors": (
        {"found": CORRECTED},
        [corrected(SDE, LAST, 2.0), corrected(SDE, TWICE, 0.1), corrected(SDE, FIRST, 2.0), corrected(FLOW, LAST, 2.0)],
    ),
    "003-fig5": (
        {
            "n": 100,
            "found": {
                0.0: (0.1, est(0.6, k=1), None),
                1.0: (1.0, est(0.8), None),
                3.0: (1.0, est(0.8), None),
                10.0: (1.0, est(0.9, k=2), None),
            },
        },
        [
            {"found": {0.0: (0.1, est(0.6, k=1), None), 1.0: (0.5, est(0.8), None), 10.0: (1.0, est(0.9, k=2), None)}},
            {"found": {0.0: (0.1, est(0.6, k=1), None), 1.0: (1.0, est(0.8), None), 10.0: (0.5, est(0.9, k=2), None)}},
            {"found": {0.0: (0.1, est(0.6, k=1), None), 1.0: (1.0, est(0.3), None), 10.0: (1.0, est(0.9, k=2), None)}},
        ],
    ),
    "003-fig6": (
        {"y": Y, "right": {mask: filled(0.1, 0.8) for mask in MASKS}},
        [
            *({"right": {mask: filled(0.1, 0.3 if mask == bad else 0.8) for mask in MASKS}} for bad in MASKS),
            {"right": {mask: filled(0.9, 0.8) for mask in MASKS}},
            {"right": {mask: filled(0.1, 0.8) | {REPAINT: torch.ones(len(Y)).double()} for mask in MASKS}},
        ],
    ),
    "004-algorithms": (
        {"energy": ENERGY_004, "of the law": OF_LAW_004, "last": 0.02, "left": 0.5},
        [
            {"of the law": OF_LAW_004 | {name: False}}
            for name in ("re-noised, N(0, I)", "re-noised, wide", "noise at t = 1", "guided, s = 1", "Tilt")
        ],
    ),
    "004-langevin": (
        {"far": FAR},
        [
            {"far": FAR | {"plain": (3.0, (2.9, 3.1))}},
            {"far": FAR | {"annealed": (7.0, (6.9, 7.1))}},
        ],
    ),
    "004-triangle": (
        {"found": triangle(0.9, 0.9, 0.7), "floor": FLOOR},
        [
            {"found": triangle(0.9, 0.9, 0.95)},
            {"found": triangle(0.6, 0.9, 0.5)},
            {"found": triangle(0.9, 0.6, 0.7)},
        ],
    ),
    "004-tradeoff": (
        {
            "found": {
                1.0: {"precision": est(0.8, k=1), "diversity": est(0.9, k=2)},
                4.0: {"precision": est(0.95, k=3), "diversity": est(0.4, k=4)},
            }
        },
        [
            {
                "found": {
                    1.0: {"precision": est(0.8, k=1), "diversity": est(0.9, k=2)},
                    4.0: {"precision": est(0.5, k=3), "diversity": est(0.4, k=4)},
                }
            },
            {
                "found": {
                    1.0: {"precision": est(0.8, k=1), "diversity": est(0.3, k=2)},
                    4.0: {"precision": est(0.95, k=3), "diversity": est(0.4, k=4)},
                }
            },
        ],
    ),
}
