"""What was found about runs, as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from torch import Tensor, cat

from undrift import __version__
from undrift.data import Dataset
from undrift.evaluation.judgement import Judgement
from undrift.evaluation.report import (
    SUSPECTS,
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
from undrift.metrics.figure import Figure, Share
from undrift.metrics.memorization import Memory
from undrift.metrics.registry import KINDS
from undrift.plot import picture
from undrift.report.html import document, figure, table


def page(runs: Sequence[Judgement], train: Dataset) -> str:
    """The report: one HTML file, without scripts, its pictures inside."""
    name = html.escape(", ".join(run.run for run in runs))
    body = [f"<h1>How good are the samples of {name}?</h1>"]
    if len(runs) > 1:
        body += ["<h2>Side by side</h2>", _compared(runs)]
    for run in runs:
        body += [f"<h2>{html.escape(run.run)}</h2>", *_section(run, train)]
    body.append(f"<p><small>undrift {__version__}; training data {html.escape(train.name)}, {len(train):,} examples.</small></p>")
    return document(", ".join(run.run for run in runs), body, "undrift evaluate")


def _section(run: Judgement, train: Dataset) -> list[str]:
    parts = [f"<p>{run.n:,} samples with {html.escape(run.drawn)}; drawn in {run.seconds:.1f} s.</p>"]
    parts += [f'<p class="careful">Careful: {html.escape(w)}.</p>' for w in run.warnings]
    if picture.drawable(train.spec):
        shown = 60 if len(train.spec.shape) == 3 else 2000
        parts.append(figure(picture.grid(run.samples[:shown], train.spec), f"The first {min(shown, run.n):,} samples."))
    if (r := run.recognised) is not None:
        parts.append(
            f"<p>{percent(r.all)} are recognised as the class that was asked for, by a classifier that is right on "
            f"{percent(r.floor)} of {r.floor.n:,} held-out examples.</p>"
        )
        parts.append(table(["class", *r.by_class], [["recognised", *(percent(s, 0) for s in r.by_class.values())]]))
    elif "recognised" in run.missing:
        parts.append(
            f"<p>Recognised as the class that was asked for: not measured: {html.escape(run.missing['recognised'])}.</p>"
        )
    parts.append("<h3>Against the training data</h3>")
    for space, keys in run.spaces.items():
        parts += [f"<p>{run.measured:,} samples, in {html.escape(space)}.</p>", _figures(run, keys)]
    parts.append(
        "<p><small>Held-out data: the same figure of as many real examples that nobody was trained on. It is what a perfect model "
        "would get. Intervals are of 95 %, by a jackknife over groups of samples, by Wilson where a figure is a share.</small></p>"
    )
    if run.columns:
        rows = [
            [str(c.number), number(c.gap), span(c.interval, c.gap.standard_error), p_value(c.p)] for c in run.columns[:SUSPECTS]
        ]
        parts += ["<h3>Columns, the furthest off first</h3>", table(["column", "widest gap", "95 %", "p (Holm)"], rows)]
    parts.append("<h3>Remembered or made?</h3>")
    for m in run.memories:
        parts += _remembered(m, run.samples, train)
    if run.balances:
        parts += ["<h3>Classes, drawn without asking for one</h3>", _classes(run.balances)]
        parts += [f"<p>{html.escape(what)}: {html.escape(balanced(b))}.</p>" for what, b in run.balances.items()]
    if "balances" in run.missing:
        parts.append(f"<p>Class frequencies: not measured: {html.escape(run.missing['balances'])}.</p>")
    if run.likelihood:
        parts += ["<h3>Likelihood</h3>", f"<pre>{html.escape(chr(10).join(run.likelihood))}</pre>"]
    return parts


def _figures(run: Judgement, keys: Sequence[str]) -> str:
    rows = []
    for k in keys:
        kind, f = KINDS[k], run.figures.get(k)
        name = f"{html.escape(kind.name)}<br><small>{kind.better} is better; sees {html.escape(kind.sees)}</small>"
        if f is None:
            rows.append([name, "not measured", "", "", html.escape(run.missing[k])])
            continue
        own, own_span, floor, floor_span = (html.escape(c) for c in cells(f))
        said = f'<span class="{f.verdict.split()[0]}">{f.verdict}</span>'
        rows.append([name, f"{own}<br><small>{own_span}</small>", f"{floor}<br><small>{floor_span}</small>", _bars(f), said])
    return table(["figure", "samples", "held-out data", "both (above: samples)", ""], rows, raw=True)


def _bars(f: Figure) -> str:
    """Both intervals on one line of numbers, as an SVG."""
    spans = [f.interval(f.own), f.interval(f.floor)]
    ends = [v for span in spans for v in span]
    if not all(map(math.isfinite, ends)):
        return ""
    low, high = min(ends), max(ends)
    wide = (high - low) or 1.0

    def x(value: float) -> float:
        return round(6 + 148 * (value - low) / wide, 1)

    marks = "".join(
        f'<line x1="{x(a)}" x2="{x(b)}" y1="{y}" y2="{y}" stroke="{c}" stroke-width="3"/><circle cx="{x(e.value)}" cy="{y}" r="4" fill="{c}"/>'
        for (a, b), e, y, c in zip(spans, (f.own, f.floor), (9, 23), ("#2850a0", "#777"), strict=True)
    )
    return f'<svg width="160" height="32" role="img" aria-label="intervals of samples, above, and held-out data">{marks}</svg>'


def _remembered(m: Memory, samples: Tensor, train: Dataset) -> list[str]:
    parts = [
        f"<p>Likeness to the nearest training example ({html.escape(m.space)}): samples {typical(m, m.likeness)}, held-out examples "
        f"{typical(m, m.real)}; {html.escape(copies(m))}.</p>"
    ]
    axis = "distance to the nearest training example: nearer to the left" if m.distances else (
        "cosine to the nearest training example: more alike to the right"
    )  # fmt: skip
    groups = {name: m.shown(likeness) for name, likeness in (("samples", m.likeness), ("held-out", m.real))}
    parts.append(figure(picture.histogram(groups, axis), m.space))
    if len(train.spec.shape) == 3:
        top = m.suspects(SUSPECTS)
        both = cat([samples[top], train.batch(m.rows[top])[0]])
        parts.append(
            figure(picture.grid(both, train.spec, len(top)), "The most suspicious: above samples, below training examples.")
        )
    return parts


def _classes(balances: dict[str, Balance]) -> str:
    first = next(iter(balances.values()))
    rows = [["training data", *(f"{100 * e:.1f} %" for e in first.expected)]]
    for what, b in balances.items():
        rows.append([what, *(percent(Share(c, sum(b.counts))) for c in b.counts)])
    return table(["", *first.classes], rows)


def _compared(runs: Sequence[Judgement]) -> str:
    gaps, rows = differences(runs), []
    for k, f in runs[0].figures.items():
        row = [f.kind.name, *(cells(run.figures[k])[0] for run in runs), cells(f)[2]]
        rows.append(row + [signed(gap[k]) for gap in gaps])
    head = ["figure", *(run.run for run in runs), "held-out data", *(f"{run.run} less {runs[0].run}" for run in runs[1:])]
    return table(head, rows) + "<p><small>Same noise, same classes: differences are paired, with 95 % intervals.</small></p>"
