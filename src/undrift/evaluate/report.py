"""What was found about runs, as lines for a terminal, as data, and as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor, cat

from undrift import __version__, picture
from undrift.data import Dataset
from undrift.evaluate.balance import Balance
from undrift.evaluate.distance import Estimate
from undrift.evaluate.interval import student
from undrift.evaluate.judgement import Figure, Judgement
from undrift.evaluate.memory import Memory

SUSPECTS = 10


def differences(runs: Sequence[Judgement]) -> list[dict[str, Estimate]]:
    """For each run after the first: its figures less those of the first, paired, the noise being the same."""
    first = runs[0].figures
    return [{k: f.own.minus(first[k].own) for k, f in run.figures.items() if k in first} for run in runs[1:]]


def lines(runs: Sequence[Judgement]) -> list[str]:
    """The summary for a terminal."""
    said: list[str] = []
    for run in runs:
        said += ([f"{run.run}"] if len(runs) > 1 else []) + [f"{run.n:,} samples with {run.drawn}", *_summary(run), ""]
    for run, gaps in zip(runs[1:], differences(runs), strict=True):
        said += [f"{run.run} less {runs[0].run}, same noise and classes (95 %)"]
        said += [*_columns([[f"  {runs[0].figures[k].kind.name}", _signed(e)] for k, e in gaps.items()]), ""]
    return said[:-1]


def _summary(run: Judgement) -> list[str]:
    said = []
    if (r := run.recognised) is not None:
        each = "  ".join(f"{name}: {100 * share:.0f}" for name, share in r.by_class.items())
        said += [
            f"recognised as the class asked for: {100 * r.share:.1f} % of {r.n:,} samples",
            f"  by a classifier that is right on {100 * r.floor:.1f} % of {r.held_out:,} held-out real examples",
            f"  by class, in %: {each}",
        ]
    for m in run.memories:
        sign, what = (1, "most similar") if m.space == "cosine" else (-1, "nearest")
        own, real = (sign * v for v in (m.likeness, m.real))
        best = [float((sign * v).max()) * sign for v in (own, real)]
        said += [
            f"nearest training example ({m.space}): median {own.median():.3f}, {what} {best[0]:.3f}",
            f"  real held-out examples: median {real.median():.3f}, {what} {best[1]:.3f}; {_copies(m)}",
        ]
    said.append(f"figures of {run.measured:,} samples, in {run.space}")
    rows = [["", "samples", "95 %", "as many held-out", "95 %", ""]]
    for f in run.figures.values():
        rows.append([f"  {f.kind.name}", *_cells(f), f.verdict])
    said += _columns(rows)
    for what, b in run.balances.items():
        said.append(f"classes of {what}{' drawn without a class' * (what == 'samples')}: {_balanced(b)}")
    said += run.likelihood
    said += [f"careful: {w}" for w in run.warnings]
    return [*said, f"drawn in {run.seconds:.1f} s"]


def _copies(m: Memory) -> str:
    return (
        f"samples are nearer with chance {m.odds:.2f} (0.50 if nothing is copied), p = {_p(m.p)}, {m.beyond} nearer than any of them (p = {_p(m.p_beyond)}); "
        f"among as many training as held-out examples a training one is the nearest for {100 * m.drawn_to:.0f} % of samples"
    )


def _balanced(b: Balance) -> str:
    worst = max(range(len(b.classes)), key=lambda k: abs(b.counts[k] / sum(b.counts) - b.expected[k]))
    low, high = b.intervals()[worst]
    return (
        f"chi-square p = {_p(b.p)} for those of the training data; furthest off {b.classes[worst]}: "
        f"{100 * b.counts[worst] / sum(b.counts):.1f} % ({100 * low:.1f} to {100 * high:.1f}) for {100 * b.expected[worst]:.1f} %"
    )


def _cells(f: Figure) -> list[str]:
    """Value and interval of the samples, then of the floor."""
    return [
        cell for e in (f.own, f.floor) for cell in (_number(e.value, e.standard_error), _span(f.interval(e), e.standard_error))
    ]


def _number(value: float, error: float) -> str:
    digits = 3 if not 0 < error < math.inf else max(0, min(6, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f}"


def _span(interval: tuple[float, float], error: float) -> str:
    return f"{_number(interval[0], error)} to {_number(interval[1], error)}" if math.isfinite(interval[0]) else "unknown"


def _signed(e: Estimate) -> str:
    low, high = student(e)
    sure = "" if low <= 0 <= high or not math.isfinite(low) else "  differs"
    return f"{_number(e.value, e.standard_error)} ({_span((low, high), e.standard_error)}){sure}"


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "below 0.0001"


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_data(runs: Sequence[Judgement], data_hash: str) -> dict[str, Any]:
    """Everything that was measured, for JSON; NaN as None."""
    return _without_nan(
        {
            "undrift": __version__,
            "data": data_hash,
            "runs": [_run(run) for run in runs],
            "differences from the first run": [
                {k: _estimate(e, student(e)) for k, e in gaps.items()} for gaps in differences(runs)
            ],
        }
    )


def _run(run: Judgement) -> dict[str, Any]:
    return {
        "run": run.run, "drawn": run.drawn, "samples": run.n, "measured": run.measured, "space": run.space, "seconds": run.seconds,
        "figures": {
            key: {"name": f.kind.name, "better": f.kind.better, "samples": _estimate(f.own, f.interval(f.own)),
                  "held-out": _estimate(f.floor, f.interval(f.floor)), "verdict": f.verdict}
            for key, f in run.figures.items()
        },
        "recognised": None if run.recognised is None else vars(run.recognised),
        "memorisation": [
            {"space": m.space, "chance nearer than held-out": m.odds, "p": m.p, "beyond all held-out": m.beyond, "p beyond": m.p_beyond,
             "nearest is of training": m.drawn_to,
             "median": m.likeness.median().item(), "held-out median": m.real.median().item(),
             "suspects": [{"sample": i, "training example": int(m.rows[i]), "likeness": float(m.likeness[i])}
                          for i in m.suspects(SUSPECTS).tolist()]}
            for m in run.memories
        ],
        "classes": {what: {"names": b.classes, "counts": b.counts, "expected": b.expected, "intervals": b.intervals(), "p": b.p}
                    for what, b in run.balances.items()},
        "columns": [vars(c) for c in run.columns],
        "likelihood": run.likelihood,
        "warnings": run.warnings,
    }  # fmt: skip


def _estimate(e: Estimate, interval: tuple[float, float]) -> dict[str, float]:
    return {"value": e.value, "low": interval[0], "high": interval[1], "standard error": e.standard_error}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top }
thead th { border-bottom: 1px solid #888 } tbody tr { border-bottom: 1px solid #ddd } td.n { font-variant-numeric: tabular-nums }
.worse { color: #a02000; font-weight: 600 } .beyond { color: #7a4a00; font-weight: 600 } .careful { background: #fff4d6; padding: .5rem 1rem }
small { color: #555 } img { max-width: 100%; image-rendering: pixelated } pre { overflow-x: auto }
"""


def page(runs: Sequence[Judgement], train: Dataset) -> str:
    """The report: one HTML file, without scripts, its pictures inside."""
    name = html.escape(", ".join(run.run for run in runs))
    body = [f"<h1>How good are the samples of {name}?</h1>"]
    if len(runs) > 1:
        body += ["<h2>Side by side</h2>", _compared(runs)]
    for run in runs:
        body += [f"<h2>{html.escape(run.run)}</h2>", *_section(run, train)]
    body.append(f"<p><small>undrift {__version__}; training data {html.escape(train.name)}, {len(train):,} examples.</small></p>")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _section(run: Judgement, train: Dataset) -> list[str]:
    parts = [f"<p>{run.n:,} samples with {html.escape(run.drawn)}; drawn in {run.seconds:.1f} s.</p>"]
    parts += [f'<p class="careful">Careful: {html.escape(w)}.</p>' for w in run.warnings]
    if picture.drawable(train.spec):
        shown = 60 if len(train.spec.shape) == 3 else 2000
        parts.append(_figure(picture.grid(run.samples[:shown], train.spec), f"The first {min(shown, run.n):,} samples."))
    if (r := run.recognised) is not None:
        parts.append(
            f"<p>{100 * r.share:.1f} % are recognised as the class that was asked for, by a classifier that is right on "
            f"{100 * r.floor:.1f} % of {r.held_out:,} held-out examples.</p>"
        )
        parts.append(_table(["class", *r.by_class], [["recognised", *(f"{100 * s:.0f} %" for s in r.by_class.values())]]))
    parts += [f"<h3>Against the training data</h3><p>{run.measured:,} samples, in {html.escape(run.space)}.</p>", _figures(run)]
    parts.append(
        "<p><small>Held-out data: the same figure of as many real examples that nobody was trained on. It is what a perfect model "
        "would get. Intervals are of 95 %, by a jackknife over groups of samples, by Wilson where a figure is a share.</small></p>"
    )
    if run.columns:
        rows = [[str(c.number), f"{c.gap:.3f}", _p(c.p)] for c in run.columns[:SUSPECTS]]
        parts += ["<h3>Columns, the furthest off first</h3>", _table(["column", "widest gap", "p (Holm)"], rows)]
    parts.append("<h3>Remembered or made?</h3>")
    for m in run.memories:
        parts += _remembered(m, run.samples, train)
    if run.balances:
        parts += ["<h3>Classes, drawn without asking for one</h3>", _classes(run.balances)]
        parts += [f"<p>{html.escape(what)}: {html.escape(_balanced(b))}.</p>" for what, b in run.balances.items()]
    if run.likelihood:
        parts += ["<h3>Likelihood</h3>", f"<pre>{html.escape(chr(10).join(run.likelihood))}</pre>"]
    return parts


def _figures(run: Judgement) -> str:
    rows = []
    for f in run.figures.values():
        own, own_span, floor, floor_span = (html.escape(c) for c in _cells(f))
        said = f'<span class="{f.verdict.split()[0]}">{f.verdict}</span>'
        name = f"{html.escape(f.kind.name)}<br><small>{f.kind.better} is better; sees {html.escape(f.kind.sees)}</small>"
        rows.append([name, f"{own}<br><small>{own_span}</small>", f"{floor}<br><small>{floor_span}</small>", _bars(f), said])
    return _table(["figure", "samples", "held-out data", "both (above: samples)", ""], rows, raw=True)


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
    parts = [f"<p>Likeness to the nearest training example ({html.escape(m.space)}): {html.escape(_copies(m))}.</p>"]
    parts.append(_figure(picture.histogram({"samples": m.likeness, "held-out": m.real}, "more alike to the right"), m.space))
    if len(train.spec.shape) == 3:
        top = m.suspects(SUSPECTS)
        both = cat([samples[top], train.batch(m.rows[top])[0]])
        parts.append(
            _figure(picture.grid(both, train.spec, len(top)), "The most suspicious: above samples, below training examples.")
        )
    return parts


def _classes(balances: dict[str, Balance]) -> str:
    first = next(iter(balances.values()))
    rows = [["training data", *(f"{100 * e:.1f} %" for e in first.expected)]]
    for what, b in balances.items():
        shares = [c / sum(b.counts) for c in b.counts]
        cells = (
            f"{100 * s:.1f} % ({100 * low:.1f} to {100 * high:.1f})" for s, (low, high) in zip(shares, b.intervals(), strict=True)
        )
        rows.append([what, *cells])
    return _table(["", *first.classes], rows)


def _compared(runs: Sequence[Judgement]) -> str:
    gaps, rows = differences(runs), []
    for k, f in runs[0].figures.items():
        row = [f.kind.name, *(" ".join(_cells(run.figures[k])[:1]) for run in runs), _cells(f)[2]]
        rows.append(row + [_signed(gap[k]) for gap in gaps])
    head = ["figure", *(run.run for run in runs), "held-out data", *(f"{run.run} less {runs[0].run}" for run in runs[1:])]
    return _table(head, rows) + "<p><small>Same noise, same classes: differences are paired, with 95 % intervals.</small></p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], raw: bool = False) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag} class=n>{c if raw else html.escape(c)}</{tag}>" for c in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _figure(image: Image.Image, caption: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    text, data = html.escape(caption), base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption><small>{text}</small></figcaption></figure>'
