"""Charts with axes: lines with error bars, bars in groups, bars to both sides of zero, and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import asinh, ceil, floor, log, log10, sinh
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor, cat, histc

from undrift.plot.axes import COLOURS, MARKERS, canvas, drawn

_BAND = {"facecolor": "black", "alpha": 0.16, "edgecolor": "none"}


class Point(NamedTuple):
    """A value with its standard error; `sure` points are filled, others hollow."""

    x: float
    y: float
    error: float
    sure: bool = True


def chart(
    lines: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    band: tuple[float, float] | None = None,
    band_label: str = "",
    mark: Point | None = None,
    mark_label: str = "",
    size: tuple[int, int] = (900, 560),
    title: str = "",
) -> Image.Image:
    """One line for each name, error bars of one standard error, a grey band, a ring around one point, and a legend beside them.

    Where values are far apart, an axis is logarithmic (see `draw_lines`).

    Args:
        lines: By name, at least one point each.
        x_label, y_label: What is on the axes, with the unit.
        band: Two values of y, such as a floor plus and minus its error; `band_label` says what it is.
        mark: The point to ring; `mark_label` says why.
        size: Width and height in pixels.
        title: What stands above.
    """
    with canvas(size) as figure:
        axis = figure.subplots()
        draw_lines(axis, lines, x_label, y_label, band, band_label, mark, mark_label)
        axis.set_title(title)
        return drawn(figure)


def draw_lines(
    axis: Any,
    lines: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    band: tuple[float, float] | None = None,
    band_label: str = "",
    mark: Point | None = None,
    mark_label: str = "",
) -> None:
    """Lines on an axis of matplotlib; the arguments are those of `chart`.

    x is logarithmic where all are positive and the last is at least eight times the first. Where a value of y is at least eight
    times the smallest standard error, and eight times the smallest value, y is linear up to about that error, on both sides of zero, and logarithmic beyond (asinh).
    """
    points = [p for line in lines.values() for p in line]
    shown: list[tuple[Any, str]] = []
    for i, (name, line) in enumerate(lines.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        small = {"markersize": 3} if len(line) > 20 else {}
        axis.plot([p.x for p in line], [p.y for p in line], color=colour)
        for p in line:
            if p.error > 0:
                axis.plot([p.x, p.x], [p.y - p.error, p.y + p.error], color=colour, linewidth=1)
        for sure, fill in ((True, colour), (False, "white")):
            kept = [p for p in line if p.sure == sure]
            dots = {"linestyle": "", "marker": marker, "markerfacecolor": fill, "zorder": 3, **small}
            axis.plot([p.x for p in kept], [p.y for p in kept], color=colour, **dots)
        shown += [(axis.plot([], [], color=colour, marker=marker, **small)[0], name)]
    if mark is not None:
        ring = {"linestyle": "", "marker": "o", "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 2}
        axis.plot([mark.x], [mark.y], markersize=14, zorder=4, **ring)
        shown += [(axis.plot([], [], markersize=10, **ring)[0], mark_label)]
    if band is not None:
        shown += [(axis.axhspan(*band, **_BAND), band_label)]
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    _across(axis, sorted({p.x for p in points}))
    _upwards(axis, [v for p in points for v in (p.y - p.error, p.y + p.error)] + list(band or ()), min(p.error for p in points))
    shown = [(handle, name) for handle, name in shown if name]
    axis.legend(
        [handle for handle, _ in shown],
        [name for _, name in shown],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        borderaxespad=0,
    )


def _across(axis: Any, xs: Sequence[float]) -> None:
    """Values far apart get a logarithmic axis.

    Of up to twenty values each has a tick, with a number where that touches no other; of more, ticks are at round numbers.
    """
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

    far = xs[0] > 0 and xs[-1] >= 8 * xs[0]
    if far:
        axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: _text(value if far else round(value, 12)))
    if not far:
        return
    axis.xaxis.set_minor_formatter(NullFormatter())
    if len(xs) > 20:
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if xs[-1] < 1000 * xs[0] else (1,)))
        return
    whole, width = log(xs[-1] / xs[0]), 0.6 * axis.figure.bbox.width  # about, with what is beside the axis
    kept = [xs[0]]
    for x in xs[1:]:
        if width * log(x / kept[-1]) / whole > 5 * len(_text(x) + _text(kept[-1])) + 4:  # pixels of a digit, and between numbers
            kept.append(x)
    axis.xaxis.set_major_locator(FixedLocator(kept))
    axis.xaxis.set_minor_locator(FixedLocator(xs))


def _upwards(axis: Any, ends: Sequence[float], unit: float) -> None:
    """Values far beyond a unit get an axis that is linear up to about a unit on both sides of zero, and logarithmic beyond."""
    from matplotlib.ticker import FixedLocator, NullLocator

    top = max(map(abs, ends))
    if (
        not 0 < 8 * unit <= top or min(ends) > top / 8
    ):  # of values near one another a logarithmic axis has no ticks to read them by
        axis.yaxis.set_major_formatter(lambda value, _: _text(round(value, 12)))
        return
    axis.set_yscale("asinh", linear_width=unit)
    axis.yaxis.set_major_formatter(lambda value, _: _text(value))
    bottom, top = asinh(min(ends) / unit), asinh(max(ends) / unit)
    margin = 0.05 * (top - bottom or 1)
    bottom, top = bottom - margin, top + margin
    axis.set_ylim(unit * sinh(bottom), unit * sinh(top))
    powers = [10.0**p for p in range(ceil(log10(unit * sinh(max(-bottom, top)))), floor(log10(unit)) - 1, -1)]
    kept: list[float] = []
    for value in [0.0, *powers, *(-p for p in powers), *(m * p for m in (5, 2) for p in powers)]:
        place = asinh(value / unit)
        if bottom <= place <= top and all(abs(place - asinh(k / unit)) > 0.07 * (top - bottom) for k in kept):
            kept.append(value)
    axis.yaxis.set_major_locator(FixedLocator(sorted(kept)))
    axis.yaxis.set_minor_locator(NullLocator())


def _text(value: float) -> str:
    """A number at a tick."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def bars(
    groups: Mapping[str, Sequence[float]], names: Sequence[str], unit: str = "%", size: tuple[int, int] = (760, 320)
) -> Image.Image:
    """One bar for each group at each name; values from 0 up, of a `unit`."""
    with canvas(size) as figure:
        axis = figure.subplots()
        thick = 0.8 / len(groups)
        for i, (name, values) in enumerate(groups.items()):
            places = [k - 0.4 + (i + 0.5) * thick for k in range(len(values))]
            axis.bar(places, values, thick, color=COLOURS[i % len(COLOURS)], label=name)
        axis.set_xticks(range(len(names)), names)
        axis.tick_params("x", length=0)
        axis.grid(False, axis="x")
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=len(groups))
        return drawn(figure)


def draw_parts(axis: Any, parts: Mapping[str, tuple[float, float, str, str]], label: str) -> None:
    """A horizontal bar from zero for each name, the first one on top.

    Args:
        axis: An axis of matplotlib.
        parts: By name: the value, its standard error, the colour, and what is written beside the bar.
        label: What the values are.
    """
    axis.barh(
        range(len(parts)), [value for value, *_ in parts.values()], 0.62, color=[colour for *_, colour, _ in parts.values()]
    )
    for k, (value, error, _, said) in enumerate(parts.values()):
        if error > 0:
            axis.plot([value - error, value + error], [k, k], color="black", linewidth=1)
        axis.annotate(said, (1.0, k), (8, 0), ("axes fraction", "data"), "offset points", va="center", annotation_clip=False)
    axis.xaxis.set_major_formatter(lambda value, _: _text(round(value, 12)))
    axis.set_ylim(len(parts) - 0.4, -0.6)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(range(len(parts)), parts)
    axis.tick_params("y", length=0)
    axis.grid(False, axis="y")
    axis.set_xlabel(label)


def histogram(groups: Mapping[str, Tensor], label: str, bins: int = 40, size: tuple[int, int] = (720, 360)) -> Image.Image:
    """Shares of values in equal bins, one colour for each named group of `(n,)` finite values, on one axis, with their means."""
    values = {name: v.flatten().double() for name, v in groups.items()}
    every = cat(list(values.values()))
    low, high = float(every.min()), float(every.max())
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    edges = [low + (high - low) * k / bins for k in range(bins + 1)]
    with canvas(size) as figure:
        axis = figure.subplots()
        for (name, v), colour in zip(values.items(), COLOURS, strict=False):
            share, mean = (histc(v, bins, low, high) / len(v)).tolist(), float(v.mean())
            axis.stairs(share, edges, fill=True, color=colour, alpha=0.25)
            axis.stairs(share, edges, color=colour, linewidth=1.5, label=f"{name}: {_counted(v)}, mean {mean:.4f}")
            axis.axvline(mean, color=colour, linewidth=1, linestyle="--")
        axis.set_ylim(bottom=0)
        axis.set_yticks([])
        axis.grid(False)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(label)
        figure.legend(loc="outside upper left")
        return drawn(figure)


def _counted(values: Tensor) -> str:
    """`1,797 examples`."""
    return f"{values.numel():,} example{'s' * (values.numel() != 1)}"
