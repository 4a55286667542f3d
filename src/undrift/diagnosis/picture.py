"""The picture of an error budget."""

from __future__ import annotations

import math

from PIL import Image

from undrift.diagnosis.budget import Budget
from undrift.diagnosis.measure import Number
from undrift.diagnosis.report import NAMES
from undrift.plot.axes import COLOURS, GREY, canvas, drawn
from undrift.plot.chart import Point, draw_lines, draw_parts

_WIDTH, _BELOW, _ROW = 900, 360, 30  # pixels: of the whole, of the lower chart, of a bar


def draw(found: Budget) -> Image.Image:
    """Above the parts of the metric, below the nats of each noise level."""
    parts = _parts(found)
    above = 80 + _ROW * len(parts)
    with canvas((_WIDTH, above + _BELOW)) as figure:
        top, below = figure.subplots(2, 1, height_ratios=(above, _BELOW))
        draw_parts(top, parts, found.task.criterion.name.split(" in the features")[0])
        draw_lines(below, _levels(found), "log10 of the noise level sigma/alpha", "nats for each unit of log-SNR")
        return drawn(figure)


def _parts(found: Budget) -> dict[str, tuple[float, float, str, str]]:
    """By name: value, standard error, colour (grey for what is no part, orange for a fault), and the number as it is written."""
    numbers = {NAMES[k]: v for k, v in found.repairs.parts.items()} | {"= as sampled": found.repairs.metric}
    if found.repairs.ema is not None:
        numbers[NAMES["ema"]] = found.repairs.ema
    faults, whole = {NAMES[k] for k in found.faults}, {"= as sampled", NAMES["finite sample"]}
    return {
        name: (
            v.value,
            v.error if math.isfinite(v.error) else 0.0,
            GREY if name in whole else COLOURS[1] if name in faults else COLOURS[0],
            str(v).replace("+-", "±"),
        )
        for name, v in numbers.items()
    }


def _levels(found: Budget) -> dict[str, list[Point]]:
    """The lines of the lower chart: nats over the logarithm of the noise level."""
    bins = found.score.bins
    centres = [-(b.low + b.high) / 2 / math.log(100) for b in bins]  # log10 sigma/alpha

    def line(ends: list[Number]) -> list[Point]:
        return [
            Point(round(x, 2), e.value / (b.high - b.low), e.error / (b.high - b.low))
            for x, e, b in zip(centres, ends, bins, strict=True)
        ]

    least, most = [b.nats.at_least for b in bins], [b.nats.at_most for b in bins]
    shown = {"score": line(least)} if found.score.nats.known else {"score, at least": line(least), "score, at most": line(most)}
    if beyond := [b.beyond for b in bins if b.beyond is not None]:
        shown["score, over sizes"] = line(beyond)
    return shown
