"""A chart of lines with error bars, drawn with Pillow: quality against evaluations."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
COLOURS: tuple[Colour, ...] = (
    (40, 80, 160), (200, 90, 30), (40, 130, 60), (170, 40, 110), (110, 80, 30), (0, 140, 150), (120, 70, 190), (90, 90, 90),
)  # fmt: skip
_ZOOM = 2  # drawn larger and shrunk, for smooth lines


class Point(NamedTuple):
    """A value with its standard error; `sure` points are filled, others hollow."""

    x: float
    y: float
    error: float
    sure: bool = True


class Axis:
    """Values to a place in [0, 1]: linear, or by asinh(value/unit) where values reach 8 units.

    That is linear up to about a unit, on both sides of zero, and logarithmic beyond.
    """

    def __init__(self, values: Sequence[float], unit: float = 0.0) -> None:
        self.unit = unit if 0 < 8 * unit <= max(map(abs, values)) else 0.0
        low, high = self._bent(min(values)), self._bent(max(values))
        margin = 0.05 * (high - low or abs(high) or 1.0)
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return (self._bent(value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values inside the axis, not too near to each other: about five even steps, or powers of ten and what is between."""
        if not self.unit:
            raw = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(raw))
            step = power * min((1, 2, 5, 10), key=lambda m: abs(m * power - raw))
            return [round(k * step, 12) for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        least = math.floor(math.log10(self.unit))
        powers = [10.0**p for p in range(math.ceil(math.log10(self.unit * math.sinh(self.high))), least - 1, -1)]
        kept: list[float] = []
        for value in [0.0, *powers, *(-p for p in powers), *(m * p for m in (5, 2) for p in powers)]:
            if 0 <= self(value) <= 1 and all(abs(self(value) - self(k)) > 0.07 for k in kept):
                kept.append(value)
        return sorted(kept)

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.unit) if self.unit else value


def chart(
    lines: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    band: tuple[float, float] | None = None,
    band_label: str = "",
    mark: Point | None = None,
    mark_label: str = "",
    size: tuple[int, int] = (900, 560),
) -> Image.Image:
    """One line for each name, error bars of one standard error, a grey band, a ring around one point, and a legend.

    Where values are far apart, an axis is logarithmic beyond the smallest standard error (that of x: beyond the smallest x).
    """
    lines, x_label, y_label = {_bare(name): line for name, line in lines.items()}, _bare(x_label), _bare(y_label)
    points = [p for line in lines.values() for p in line]
    ends = [v for p in points for v in (p.y - p.error, p.y + p.error)] + list(band or ())
    across, up = Axis([p.x for p in points], min(p.x for p in points)), Axis(ends, min(p.error for p in points))
    width, height = (_ZOOM * s for s in size)
    left, right, top, bottom = 90 * _ZOOM, width - 220 * _ZOOM, 20 * _ZOOM, height - 60 * _ZOOM
    image = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(13 * _ZOOM)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (0.03 + 0.94 * across(x)), bottom - (bottom - top) * up(y)

    if band is not None:
        pen.rectangle((left, place(0, band[1])[1], right, place(0, band[0])[1]), fill=(0, 0, 0, 40))
    for value in up.ticks():
        y = place(0, value)[1]
        pen.line((left, y, right, y), fill=(0, 0, 0, 25), width=_ZOOM)
        pen.text((left - 8 * _ZOOM, y), f"{value:g}", fill="black", font=font, anchor="rm")
    for value in sorted({p.x for p in points}):
        x = place(value, 1)[0]
        pen.line((x, bottom, x, bottom + 5 * _ZOOM), fill="black", width=_ZOOM)
    for value in _apart([(place(v, 1)[0], v) for v in sorted({p.x for p in points})], 26 * _ZOOM):
        pen.text((place(value, 1)[0], bottom + 8 * _ZOOM), f"{value:g}", fill="black", font=font, anchor="ma")
    pen.line([(left, top), (left, bottom), (right, bottom)], fill="black", width=_ZOOM)
    pen.text(((left + right) / 2, height - 30 * _ZOOM), x_label, fill="black", font=font, anchor="ma")
    _upright(image, y_label, (14 * _ZOOM, (top + bottom) // 2), font)
    for i, (name, line) in enumerate(lines.items()):
        colour, radius = COLOURS[i % len(COLOURS)], 4 * _ZOOM
        pen.line([place(p.x, p.y) for p in line], fill=colour, width=2 * _ZOOM)
        for p in line:
            (x, y), (_, high), (_, low) = place(p.x, p.y), place(p.x, p.y + p.error), place(p.x, p.y - p.error)
            pen.line((x, high, x, low), fill=colour, width=_ZOOM)
            _dot(pen, x, y, radius, colour, p.sure, i // len(COLOURS))
        y = top + (12 + 20 * i) * _ZOOM
        _dot(pen, right + 26 * _ZOOM, y, radius, colour, True, i // len(COLOURS))
        pen.text((right + 40 * _ZOOM, y), name, fill="black", font=font, anchor="lm")
    y = top + (12 + 20 * len(lines)) * _ZOOM
    if mark is not None:
        x0, y0, r = *place(mark.x, mark.y), 9 * _ZOOM
        for a, b, s in ((x0, y0, r), (right + 26 * _ZOOM, y, 6 * _ZOOM)):
            pen.ellipse((a - s, b - s, a + s, b + s), outline="black", width=2 * _ZOOM)
        pen.text((right + 40 * _ZOOM, y), mark_label, fill="black", font=font, anchor="lm")
        y += 20 * _ZOOM
    if band is not None:
        pen.rectangle((right + 18 * _ZOOM, y - 5 * _ZOOM, right + 34 * _ZOOM, y + 5 * _ZOOM), fill=(0, 0, 0, 40))
        pen.text((right + 40 * _ZOOM, y), band_label, fill="black", font=font, anchor="lm")
    return image.resize(size, Image.Resampling.LANCZOS)


def _bare(text: str) -> str:
    """Without accents, for which Pillow's font has no glyphs."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour, filled: bool, shape: int) -> None:
    """A disc for the first round of colours, a square for the second, a diamond for the third."""
    fill = colour if filled else (255, 255, 255)
    if shape % 3 == 0:
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=colour, width=_ZOOM)
    elif shape % 3 == 1:
        pen.rectangle((x - r, y - r, x + r, y + r), fill=fill, outline=colour, width=_ZOOM)
    else:
        pen.polygon([(x - r, y), (x, y - r), (x + r, y), (x, y + r)], fill=fill, outline=colour)


def _upright(image: Image.Image, text: str, centre: tuple[int, int], font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> None:
    """Text that reads upwards."""
    width, height = (round(v) for v in font.getbbox(text)[2:])
    label = Image.new("RGB", (width + 2, height + 4), "white")
    ImageDraw.Draw(label).text((0, 0), text, fill="black", font=font)
    turned = label.rotate(90, expand=True)
    image.paste(turned, (centre[0], centre[1] - turned.height // 2))


def _apart(places: Sequence[tuple[float, float]], least: float) -> list[float]:
    """The values whose places, from the left, are at least so far apart."""
    kept: list[tuple[float, float]] = []
    for place, value in places:
        if not kept or place - kept[-1][0] >= least:
            kept.append((place, value))
    return [value for _, value in kept]
