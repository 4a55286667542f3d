"""What was found about runs, as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, cat

from undrift.data import Dataset
from undrift.evaluation.judgement import Judgement
from undrift.evaluation.report import (
    SUSPECTS,
    as_data,
    balanced,
    cells,
    copies,
    differences,
    number,
    p_value,
    percent,
    signed,
    span,
    typical,
)
from undrift.metrics.balance import Balance
from undrift.metrics.memorization import Memory
from undrift.metrics.registry import METRICS
from undrift.metrics.result import MetricResult, Share
from undrift.plot import chart, picture
from undrift.report.html import render
from undrift.storage import Place, path_of, write_text


def page(runs: Sequence[Judgement], train: Dataset) -> str:
    """The report: one HTML file, without scripts, its pictures inside."""
    return render(
        "evaluation.html",
        name=", ".join(run.run for run in runs),
        compared=_compared(runs) if len(runs) > 1 else None,
        sections=[_section(run, train) for run in runs],
        train=train,
    )


def write_report(runs: Sequence[Judgement], train: Dataset, place: Place) -> Path:
    """Write the page, and beside it all numbers as JSON.

    Returns:
        Where the numbers are.

    Raises:
        OutputError: one of the two cannot be written.
    """
    text, data = page(runs, train), as_data(runs, train.content_hash())
    numbers = path_of(place).with_suffix(".json")
    write_text(place, text)
    write_text(numbers, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return numbers


def _section(run: Judgement, train: Dataset) -> dict[str, Any]:
    """What the template shows of one run."""
    samples = None
    if picture.drawable(train.spec):
        shown = 60 if len(train.spec.shape) == 3 else 2000
        samples = picture.grid(run.samples[:shown], train.spec), f"The first {min(shown, run.n):,} samples."
    said = [f"{what}: {balanced(b)}" for what, b in run.balances.items()]
    if "balances" in run.missing:
        said.append(f"Class frequencies: not measured: {run.missing['balances']}")
    return {
        "run": run,
        "samples": samples,
        "recognised": _recognised(run),
        "spaces": [(space, [_row(run, key) for key in keys]) for space, keys in run.spaces.items()],
        "columns": [
            [str(c.number), number(c.gap), span(c.interval, c.gap.standard_error), p_value(c.p)] for c in run.columns[:SUSPECTS]
        ],
        "memories": [_remembered(m, run.samples, train) for m in run.memories],
        "classes": _classes(run.balances) if run.balances else None,
        "balanced": said,
    }


def _recognised(run: Judgement) -> dict[str, Any] | None:
    """How many samples are of the class that was asked for, or why nobody knows."""
    if (r := run.recognised) is not None:
        said = (
            f"{percent(r.all)} are recognised as the class that was asked for, by a classifier that is right on "
            f"{percent(r.floor)} of {r.floor.n:,} held-out examples."
        )
        rows = [["class", *r.by_class], ["recognised", *(percent(s, 0) for s in r.by_class.values())]]
        return {"said": said, "table": rows}
    if "recognised" in run.missing:
        return {
            "said": f"Recognised as the class that was asked for: not measured: {run.missing['recognised']}.", "table": None,
        }  # fmt: skip
    return None


def _row(run: Judgement, key: str) -> dict[str, Any]:
    """A row of the table of metrics."""
    metric, f = METRICS[key], run.metrics.get(key)
    if f is None:
        return {"metric": metric, "missing": run.missing[key]}
    own, own_span, floor, floor_span = cells(f)
    return {
        "metric": metric, "missing": None, "own": own, "own_span": own_span, "floor": floor, "floor_span": floor_span, "marks": _marks(f),
        "verdict": f.verdict,
    }  # fmt: skip


def _marks(f: MetricResult) -> list[dict[str, Any]]:
    """Both intervals and values on one line of numbers, in % of its length; none where one of them is not finite."""
    spans = [f.interval(f.own), f.interval(f.floor)]
    ends = [v for span in spans for v in span]
    if not all(map(math.isfinite, ends)):
        return []
    low, wide = min(ends), (max(ends) - min(ends)) or 1.0

    def x(value: float) -> float:
        return round(100 * (value - low) / wide, 1)

    return [
        {"of": of, "low": x(a), "wide": round(x(b) - x(a), 1), "at": x(e.value)}
        for (a, b), e, of in zip(spans, (f.own, f.floor), ("own", "other"), strict=True)
    ]


def _remembered(m: Memory, samples: Tensor, train: Dataset) -> dict[str, Any]:
    """How near samples are to training examples: a sentence, a histogram, and of pictures the most suspicious."""
    said = (
        f"Likeness to the nearest training example ({m.space}): samples {typical(m, m.likeness)}, held-out examples "
        f"{typical(m, m.real)}; {copies(m)}."
    )
    axis = "distance to the nearest training example: nearer to the left" if m.distances else (
        "cosine to the nearest training example: more alike to the right"
    )  # fmt: skip
    groups = {name: m.shown(likeness) for name, likeness in (("samples", m.likeness), ("held-out", m.real))}
    suspects = None
    if len(train.spec.shape) == 3:
        top = m.suspects(SUSPECTS)
        suspects = picture.grid(cat([samples[top], train.batch(m.rows[top])[0]]), train.spec, len(top))
    return {"said": said, "space": m.space, "histogram": chart.histogram(groups, axis), "suspects": suspects}


def _classes(balances: dict[str, Balance]) -> list[list[str]]:
    """Head and rows: how often each class comes, in the training data and among samples."""
    first = next(iter(balances.values()))
    rows = [["", *first.classes], ["training data", *(f"{100 * e:.1f} %" for e in first.expected)]]
    return rows + [[what, *(percent(Share(c, sum(b.counts))) for c in b.counts)] for what, b in balances.items()]


def _compared(runs: Sequence[Judgement]) -> list[list[str]]:
    """Head and rows: every metric of every run, and what each differs from the first by."""
    gaps = differences(runs)
    rows = [["metric", *(run.run for run in runs), "held-out data", *(f"{run.run} less {runs[0].run}" for run in runs[1:])]]
    for k, f in runs[0].metrics.items():
        row = [f.metric.name, *(cells(run.metrics[k])[0] for run in runs), cells(f)[2]]
        rows.append(row + [signed(gap[k]) for gap in gaps])
    return rows
