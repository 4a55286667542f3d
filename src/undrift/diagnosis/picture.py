"""The picture of an error budget."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

from undrift.diagnosis.budget import Budget
from undrift.diagnosis.measure import Number
from undrift.diagnosis.report import NAMES
from undrift.plot.chart import COLOURS, Axis, Point, chart


def draw(found: Budget) -> Image.Image:
    """Above the parts of the figure, below the nats of each noise level."""
    top = _bars(found)
    bins = found.score.bins
    centres = [-(b.low + b.high) / 2 / math.log(100) for b in bins]  # log10 sigma/alpha

    def line(ends: list[Number]) -> list[Point]:
        return [
            Point(round(x, 2), e.value / (b.high - b.low), e.error / (b.high - b.low))
            for x, e, b in zip(centres, ends, bins, strict=True)
        ]

    least, most = [b.nats.at_least for b in bins], [b.nats.at_most for b in bins]
    known = found.score.nats.known
    shown = {"score": line(least)} if known else {"score, at least": line(least), "score, at most": line(most)}
    if beyond := [b.beyond for b in bins if b.beyond is not None]:
        shown["score, over sizes"] = line(beyond)
    below = chart(shown, "log10 of the noise level sigma/alpha", "nats for each unit of log-SNR", size=(900, 380))
    image = Image.new("RGB", (900, top.height + below.height), "white")
    image.paste(top, (0, 0))
    image.paste(below, (0, top.height))
    return image


def _bars(found: Budget, zoom: int = 2) -> Image.Image:
    """A horizontal bar for every part of the figure, with its standard error."""
    parts = {NAMES[k]: v for k, v in found.repairs.parts.items()} | {"= as sampled": found.repairs.figure}
    if found.repairs.ema is not None:
        parts[NAMES["ema"]] = found.repairs.ema
    height = 60 + 30 * len(parts)
    image = Image.new("RGB", (900 * zoom, height * zoom), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13 * zoom)
    errors = [0.0 if math.isinf(v.error) or math.isnan(v.error) else v.error for v in parts.values()]
    across = Axis([0.0, *(v.value + s * e for v, e in zip(parts.values(), errors, strict=True) for s in (-1, 1))])
    left, right = 160 * zoom, 680 * zoom
    faults = {NAMES[k] for k in found.faults}

    def place(value: float) -> float:
        return left + (right - left) * across(value)

    for i, ((name, part), error) in enumerate(zip(parts.items(), errors, strict=True)):
        y = (24 + 30 * i) * zoom
        whole = name in ("= as sampled", NAMES["finite sample"])
        colour = COLOURS[7] if whole else COLOURS[1] if name in faults else COLOURS[0]
        near, far = sorted((place(0), place(part.value)))
        pen.rectangle((near, y - 9 * zoom, far, y + 9 * zoom), fill=colour)
        pen.line((place(part.value - error), y, place(part.value + error), y), fill="black", width=zoom)
        pen.text((left - 10 * zoom, y), name, fill="black", font=font, anchor="rm")
        pen.text((right + 20 * zoom, y), str(part), fill="black", font=font, anchor="lm")
    pen.line((place(0), 8 * zoom, place(0), (height - 40) * zoom), fill="black", width=zoom)
    label = found.task.yardstick.name.split(" in the features")[0]
    pen.text(((left + right) / 2, (height - 20) * zoom), label, fill="black", font=font, anchor="mm")
    return image.resize((900, height), Image.Resampling.LANCZOS)
