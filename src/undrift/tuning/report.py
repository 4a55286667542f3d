"""What a frontier says: a table, a sentence, a picture, and all of it as data."""

from __future__ import annotations

from typing import Any

from PIL import Image

from undrift import __version__
from undrift.plot.chart import Point, chart
from undrift.tuning.frontier import Frontier
from undrift.tuning.successive_halving import Row

LINES = 12  # samplers in the picture, the best ones


def measured(row: Row) -> str:
    """The metric with its standard error."""
    return _plus_minus(row.quality.value, row.quality.standard_error)


def _plus_minus(value: float, error: float) -> str:
    """Both with the digits that the error leaves."""
    digits = max(0, min(8, 1 - int(f"{error:e}".split("e")[1]))) if 0 < error < float("inf") else 4
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def table(found: Frontier) -> list[str]:
    """The rows by evaluations, as lines of text."""
    others = list(dict.fromkeys(name for row in found.rows for name in row.also))
    head = ["evaluations", "sampler", "grid", "steps", "samples", "metric", *others, "ms/sample", ""]
    lines = [head]
    for row in found.rows:
        s = row.setting
        marks = {"recommended": row is found.recommended, "best": row is found.best, "now": s == found.present}
        also = [_also(name, row.also[name]) if name in row.also else "" for name in others]
        speed = f"{1000 * row.seconds / row.n:.1f}"
        said = ", ".join(name for name, on in marks.items() if on)
        lines.append([str(s.evaluations), s.sampler, s.grid, str(s.steps), f"{row.n:,}", measured(row), *also, speed, said])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = (1, 2, len(head) - 1)
    return [
        "  ".join(
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _also(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name == "recognised" else f"{value:.2g}"


def words(found: Frontier) -> list[str]:
    """What the metrics are, and the recommendation."""
    criterion, first, chosen = found.criterion, found.best, found.recommended
    floor = _plus_minus(criterion.floor.value, criterion.floor.standard_error)
    lines = [
        f"metric: {criterion.name}; lower is better, +- is one standard error",
        f"floor: {floor}, which is what {criterion.real} get" + _memory(found),
    ]
    s, kept = chosen.setting, chosen.setting == found.present
    reason = "the best of all" + ", and what the model uses now" * kept
    if chosen is not first:
        gap = chosen.quality.minus(first.quality)
        best = (
            f"the best, {first.setting.sampler} on {first.setting.grid} with {first.setting.evaluations} "
            f"({measured(first)}; the difference is {_plus_minus(gap.value, gap.standard_error)})"
        )
        reason = f"within the error bars of {best}"
        if kept:
            reason = f"what the model uses now: {best}, is within the error of it"
    also = "".join(f", {name} {_also(name, value)}" for name, value in chosen.also.items())
    lines.append(
        f"recommended: {s.sampler} on the {s.grid} grid, {s.steps} step{'s' * (s.steps != 1)}, {s.evaluations} "
        f"evaluation{'s' * (s.evaluations != 1)}: {measured(chosen)}{also}, {reason}"
    )
    return lines


def _memory(found: Frontier) -> str:
    """A word of warning where samples are nearer to the training data than real examples are."""
    criterion, quality = found.criterion, found.best.quality
    if quality.value + 3 * quality.standard_error < criterion.floor.value - 3 * criterion.floor.standard_error:
        return "; samples are nearer to the training data than that: are they copies? see undrift evaluate"
    return ""


def picture(found: Frontier) -> Image.Image:
    """Quality against evaluations: for each of the best samplers its best grid at each number of evaluations."""
    lines: dict[str, dict[int, Row]] = {}
    for row in sorted(found.rows, key=lambda row: (-row.n, row.quality.value)):
        line = lines.setdefault(row.setting.sampler, {})
        if len(lines) <= LINES:
            line.setdefault(row.setting.evaluations, row)
    most = found.best.n
    shown = {_legend(name, line): [_point(line[x], most) for x in sorted(line)] for name, line in list(lines.items())[:LINES]}
    floor = found.criterion.floor
    return chart(
        shown,
        "evaluations of the denoiser for each sample",
        found.criterion.name.split(" in the features")[0],
        (floor.value - floor.standard_error, floor.value + floor.standard_error),
        found.criterion.real,
        _point(found.recommended, most),
        "recommended",
    )


def _point(row: Row, most: int) -> Point:
    return Point(row.setting.evaluations, row.quality.value, row.quality.standard_error, row.n == most)


def _legend(sampler: str, line: dict[int, Row]) -> str:
    grids = {row.setting.grid for row in line.values()}
    return f"{sampler} ({grids.pop()})" if len(grids) == 1 else sampler


def as_json(found: Frontier) -> dict[str, Any]:
    """All of it, for `frontier.json`."""
    criterion = found.criterion
    return {
        "undrift": __version__,
        "figure": criterion.name,
        "floor": {"value": criterion.floor.value, "standard_error": criterion.floor.standard_error, "real": criterion.real},
        "scale": found.scale,
        "recommended": vars(found.recommended.setting),
        "best": vars(found.best.setting),
        "rows": [
            vars(row.setting)
            | {"samples": row.n, "value": row.quality.value, "standard_error": row.quality.standard_error}
            | row.also
            | {"seconds": round(row.seconds, 3), "replicates": row.quality.replicates}
            for row in found.rows
        ],
        "fitted": found.fitted,
        "notes": found.notes,
    }
