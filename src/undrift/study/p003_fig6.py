"""Paper 003, Fig. 6: digits filled in behind three masks. Do ones turn into other digits, and must they?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import undrift as ud
from undrift import times as grids
from undrift.imputation.known import Known, Method
from undrift.imputation.masks import named_mask
from undrift.imputation.measured import by_particles, measured
from undrift.metrics.interval import wilson
from undrift.study.base import OURS, Claim, Measured, Seen, Study, share
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels
from undrift.study.p003_samplers import PROCESS
from undrift.study.perfect_imputer import perfect

MASKS = ("middle-vertical", "middle-horizontal", "random:0.5")
REPLACED, REPAINT, BLANK = "003: replaced, reverse SDE", "RePaint x 40", "nothing filled in"
Fill = Callable[[ud.AnyDenoiser, Tensor, Tensor], Tensor]  # denoiser, digits, mask to digits


def ways(context: StudyContext) -> dict[str, Fill]:
    """The ways to fill in: the paper's and those of the library; all but two on the first mask alone."""

    def walk(sampler: ud.Sampler, steps: int, method: Method = Known) -> Fill:
        return lambda d, x, mask: ud.impute(d, x, mask, method=method, sampler=sampler, steps=context.count(steps, least=5))[0]

    def replaced(d: ud.AnyDenoiser, x: Tensor, mask: Tensor) -> Tensor:
        times = grids.uniform(PROCESS, context.count(200, 1000, 5))
        return ud.impute(d.using(PROCESS), x, mask, sampler=ud.EulerMaruyama(), steps=times)[0]

    return {
        REPLACED: replaced,
        REPAINT: walk(ud.RePaint(resamplings=context.count(40, least=2)), 25),
        "RePaint x 10": walk(ud.RePaint(resamplings=context.count(10, least=2)), 50),
        "gradient (mmps)": walk(ud.Ancestral(), 100, measured),
        "16 particles": lambda d, x, mask: by_particles(d, x, mask, steps=context.count(50, least=5))[0],
    }


def measure(context: StudyContext) -> Measured:
    """Held-out digits, ten of each class and thirty ones, filled in once each; the class is not told."""
    model, held_out = context.model("003-score"), context.data[1]
    assert held_out.labels is not None
    labels, each = torch.from_numpy(held_out.labels), context.count(10, 50, 2)
    rows = torch.cat([(labels == k).nonzero()[: 3 * each if k == 1 else each, 0] for k in range(10)])
    x, y = held_out.batch(rows)[0], labels[rows]
    first = torch.stack([(y == k).nonzero()[0, 0] for k in range(10)])
    denoiser, found, pictures = model.denoiser.given(None), dict[str, dict[str, Tensor]](), {}
    for name in MASKS:
        mask = named_mask(name, model.spec.shape)
        pictures[f"{name}: masked"] = torch.where(mask, x, -0.5)[first]
        found[name] = {"the digit itself": _right(context, x, y), "a perfect imputer": perfect(context, mask, x, y)}
        found[name][BLANK] = _right(context, torch.where(mask, x, -1.0), y)
        for way, fill in list(ways(context).items())[: None if name == MASKS[0] else 2]:
            context.tell(f"{name}, {way}")
            filled = context.shown(fill(denoiser, x, mask))
            found[name][way] = _right(context, filled, y)
            if way in (REPLACED, REPAINT):
                pictures[f"{name}: {way}"] = filled[first]
    return {"y": y, "right": found, "x": pictures, "spec": model.spec}


def _right(context: StudyContext, pictures: Tensor, y: Tensor) -> Tensor:
    """`(B,)`: whether the judge sees the digit that it was; a picture without a bright pixel is never right."""
    return ((context.judge.classify(pictures) == y) & (pictures.amax((1, 2, 3)) > 0)).double()


def _kept(m: Measured, mask: str, way: str, ones: bool) -> tuple[float, float, int]:
    """Of the ones (or of all others) the share still what they were, what a perfect imputer would keep, and how many there are."""
    rows = (m["y"] == 1) == ones
    return float(m["right"][mask][way][rows].mean()), float(m["right"][mask]["a perfect imputer"][rows].mean()), int(rows.sum())


def _stayed(m: Measured, mask: str, way: str) -> Seen:
    """Of all but the ones, by what a perfect imputer would keep."""
    own, best, n = _kept(m, mask, way, False)
    text, holds = share(own, n, low=0.75 * best)
    return f"{way}: {text} are still what they were; a perfect imputer keeps {100 * best:.0f} %", holds


def _lost(m: Measured, way: str) -> Seen:
    """Whether the ones vanish behind the first mask where others stay: what all lose alike says nothing about ones."""
    (own, best, n), (others, other_best, k) = (_kept(m, MASKS[0], way, ones) for ones in (True, False))
    (a, b), (c, d) = wilson(own, n), wilson(others, k)
    text = (
        f"{way}: {share(own, n)[0]} of the ones are still ones, {share(others, k)[0]} of all others what they were; a perfect imputer keeps "
        f"{100 * best:.0f} and {100 * other_best:.0f} %, and unfilled they are recognised at {100 * _kept(m, MASKS[0], BLANK, True)[0]:.0f} "
        f"and {100 * _kept(m, MASKS[0], BLANK, False)[0]:.0f} %"
    )
    return text, True if b < c / 2 else False if a > d / 2 else None


def table(m: Measured) -> list[list[str]]:
    head = ["mask", "way", "ones, %", "others, %"]
    each = [(mask, way) for mask, right in m["right"].items() for way in right]
    return [head] + [[*pair, *(f"{100 * _kept(m, *pair, ones)[0]:.0f}" for ones in (True, False))] for pair in each]


STUDY = Study(
    name="003-fig6",
    title="Filling in behind three masks",
    source="sec. 4.2 and 5.6, Fig. 6, Algorithm 4",
    covers=("X17",),
    measure=measure,
    claims=(
        *(
            Claim(
                f"{mask}: {what}",
                "sec. 5.6",
                "at least three quarters of what a perfect imputer would keep",
                partial(_stayed, mask=mask, way=REPLACED),
                "replacement shows the network what is known only through the noise of the moment, and takes nothing back",
            )
            for mask, what in zip(MASKS, ("“very good” (all but the ones)", *["“satisfying”"] * 2), strict=True)
        ),
        Claim(
            "1s are “completely wiped out by the middle vertical mask”",
            "sec. 5.6",
            "of the ones less than half the share that all others keep, their 95 % intervals and all",
            partial(_lost, way=REPLACED),
            "here a hole takes as much of the others as of the ones",
        ),
        Claim(
            "they must (implied)",
            "sec. 5.6",
            f"the same with {REPAINT}",
            partial(_lost, way=REPAINT),
            "a sampler that may go back keeps them: it is Algorithm 4 that loses them, not the mask",
            OURS,
        ),
    ),
    figure=lambda m: panels({name: digits(x, m["spec"], 10, max(1, 32 // x.shape[-1])) for name, x in m["x"].items()}, 3),
    caption="Ten held-out digits behind each mask, and filled in by replacement (Algorithm 4) and by RePaint.",
    table=table,
)
