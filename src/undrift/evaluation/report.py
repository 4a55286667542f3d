"""What was found about runs, as lines for a terminal and as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from undrift import __version__
from undrift.evaluation.judgement import Judgement
from undrift.metrics.balance import Balance
from undrift.metrics.estimate import Estimate
from undrift.metrics.interval import median, student
from undrift.metrics.memorization import Memory
from undrift.metrics.registry import METRICS
from undrift.metrics.result import MetricResult, Share

SUSPECTS = 10


def differences(runs: Sequence[Judgement]) -> list[dict[str, Estimate]]:
    """For each run after the first: its metrics less those of the first, paired, the noise being the same."""
    first = runs[0].metrics
    return [{k: f.own.minus(first[k].own) for k, f in run.metrics.items() if k in first} for run in runs[1:]]


def lines(runs: Sequence[Judgement]) -> list[str]:
    """The summary for a terminal."""
    said: list[str] = []
    for run in runs:
        said += ([f"{run.run}"] if len(runs) > 1 else []) + [f"{run.n:,} samples with {run.drawn}", *_summary(run), ""]
    for run, gaps in zip(runs[1:], differences(runs), strict=True):
        said += [f"{run.run} less {runs[0].run}, same noise and classes (95 %)"]
        said += [*_columns([[f"  {runs[0].metrics[k].metric.name}", signed(e)] for k, e in gaps.items()]), ""]
    return said[:-1]


def asked_for(run: Judgement) -> list[str]:
    """How many samples are of the class that was asked for, or why nobody knows."""
    if (r := run.recognised) is not None:
        each = "  ".join(f"{name}: {percent(share, 0)}" for name, share in r.by_class.items())
        return [
            f"recognised as the class asked for: {percent(r.all)} of {r.all.n:,} samples",
            f"  by a classifier that is right on {percent(r.floor)} of {r.floor.n:,} held-out real examples",
            f"  by class: {each}",
        ]
    missing = run.missing.get("recognised")
    return [] if missing is None else [f"recognised as the class asked for: not measured: {missing}"]


def remembered(m: Memory) -> list[str]:
    """How like training examples samples are, beside held-out examples."""
    what = "nearest" if m.distances else "most similar"
    return [
        f"nearest training example ({m.space}): {typical(m, m.likeness)}, {what} {m.shown(m.likeness.max()):.3f}",
        f"  real held-out examples: {typical(m, m.real)}, {what} {m.shown(m.real.max()):.3f}; {copies(m)}",
    ]


def _summary(run: Judgement) -> list[str]:
    said = [*asked_for(run), *(line for m in run.memories for line in remembered(m))]
    for space, keys in run.spaces.items():
        said.append(f"metrics of {run.measured:,} samples, in {space}")
        rows = [["", "samples", "95 %", "as many held-out", "95 %", ""]]
        for k in keys:
            f = run.metrics.get(k)
            rows.append(
                [f"  {METRICS[k].name}", *(["not measured", run.missing[k], "", "", ""] if f is None else [*cells(f), f.verdict])]
            )
        said += _columns(rows)
    for c in run.columns[:3]:
        said.append(
            f"  column {c.number}: gap {number(c.gap)} ({span(c.interval, c.gap.standard_error)}), p = {p_value(c.p)} (Holm)"
        )
    for what, b in run.balances.items():
        said.append(f"classes of {what}{' drawn without a class' * (what == 'samples')}: {balanced(b)}")
    if "balances" in run.missing:
        said.append(f"class frequencies: not measured: {run.missing['balances']}")
    said += run.likelihood
    said += [f"careful: {w}" for w in run.warnings]
    return [*said, f"drawn in {run.seconds:.1f} s"]


def percent(share: Share, digits: int = 1) -> str:
    """With its interval."""
    low, high = (f"{100 * v:.{digits}f}" for v in share.interval)
    return f"{100 * share.value:.{digits}f} % ({low} to {high})"


def typical(m: Memory, likeness: Tensor) -> str:
    """The median with its interval."""
    measured = m.shown(likeness)
    low, high = median(measured)
    return f"median {measured.median():.3f} ({low:.3f} to {high:.3f})"


def copies(m: Memory) -> str:
    """How the samples compare to held-out examples."""
    low, high = m.odds_interval
    to = percent(Share(m.drawn_to * len(m.likeness), len(m.likeness)), 0)
    return (
        f"a sample is nearer than a held-out example with chance {m.odds:.2f} ({low:.2f} to {high:.2f}; 0.50 if nothing is "
        f"copied), p = {p_value(m.p)}; {m.beyond} are nearer than every held-out example (p = {p_value(m.p_beyond)}); of equally "
        f"many training and held-out examples, a training one is the nearest to {to} of samples"
    )


def balanced(b: Balance) -> str:
    """The test, and the class furthest off."""
    worst = max(range(len(b.classes)), key=lambda k: abs(b.counts[k] / sum(b.counts) - b.expected[k]))
    seen = percent(Share(b.counts[worst], sum(b.counts)))
    return (
        f"chi-square p = {p_value(b.p)} for those of the training data; furthest off {b.classes[worst]}: {seen} for "
        f"{100 * b.expected[worst]:.1f} %"
    )


def cells(f: MetricResult) -> list[str]:
    """Value and interval of the samples, then of the floor."""
    return [cell for e in (f.own, f.floor) for cell in (number(e), span(f.interval(e), e.standard_error))]


def number(e: Estimate) -> str:
    """With the digits that its error leaves."""
    return _rounded(e.value, e.standard_error)


def _rounded(value: float, error: float) -> str:
    digits = 3 if not 1e-9 < error < math.inf else max(0, min(6, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f}"


def span(interval: tuple[float, float], error: float) -> str:
    """Both ends."""
    return f"{_rounded(interval[0], error)} to {_rounded(interval[1], error)}" if math.isfinite(interval[0]) else "unknown"


def signed(e: Estimate) -> str:
    """A difference, and whether it is surely one; where no group of samples changes it, nobody can say."""
    low, high = student(e)
    sure = "  differs" if (low > 0 or high < 0) and e.standard_error > 1e-9 else ""
    return f"{number(e)} ({span((low, high), e.standard_error)}){sure}"


def p_value(p: float) -> str:
    """Two digits."""
    return f"{p:.2g}" if p >= 1e-4 else "below 0.0001"


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if row[1] != "not measured" or i < 2) for i in range(len(rows[0]))]
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
        "run": run.run, "drawn": run.drawn, "samples": run.n, "measured": run.measured, "spaces": run.spaces,
        "seconds": run.seconds,
        "figures": {
            key: {"name": f.metric.name, "better": f.metric.better, "samples": _estimate(f.own, f.interval(f.own)),
                  "held-out": _estimate(f.floor, f.interval(f.floor)), "verdict": f.verdict}
            for key, f in run.metrics.items()
        },
        "not measured": run.missing,
        "recognised": None if (r := run.recognised) is None else {
            "samples": _share(r.all), "held-out": _share(r.floor), "by class": {c: _share(s) for c, s in r.by_class.items()}},
        "memorisation": [
            {"space": m.space, "chance nearer than held-out": m.odds, "interval": m.odds_interval, "p": m.p, "beyond all held-out": m.beyond, "p beyond": m.p_beyond,
             "nearest is of training": _share(Share(m.drawn_to * len(m.likeness), len(m.likeness))),
             "median": m.shown(m.likeness).median().item(), "median interval": median(m.shown(m.likeness)),
             "held-out median": m.shown(m.real).median().item(), "held-out median interval": median(m.shown(m.real)),
             "suspects": [{"sample": i, "training example": int(m.rows[i]),
                           "distance" if m.distances else "cosine": float(m.shown(m.likeness[i]))}
                          for i in m.suspects(SUSPECTS).tolist()]}
            for m in run.memories
        ],
        "classes": {what: {"names": b.classes, "counts": b.counts, "expected": b.expected, "intervals": b.intervals(), "p": b.p}
                    for what, b in run.balances.items()},
        "columns": [{"number": c.number, "gap": _estimate(c.gap, c.interval), "p": c.p} for c in run.columns],
        "likelihood": run.likelihood,
        "warnings": run.warnings,
    }  # fmt: skip


def _estimate(e: Estimate, interval: tuple[float, float]) -> dict[str, float]:
    return {"value": e.value, "low": interval[0], "high": interval[1], "standard error": e.standard_error}


def _share(share: Share) -> dict[str, float]:
    return {"value": share.value, "low": share.interval[0], "high": share.interval[1], "of": share.n}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
