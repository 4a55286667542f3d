"""Figures in the papers' layouts: pictures under titles, clouds of points, and arrows over a density."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from undrift.data import Spec
from undrift.plot import picture
from undrift.plot.axes import COLOURS, canvas, drawn

_LINE, _GAP = 17, 10  # pixels: a line of a title, and between panels


def panels(images: Mapping[str, Image.Image], columns: int = 0) -> Image.Image:
    """Pictures side by side, pixel for pixel, each under its title; `columns` to a row (0: all in one)."""
    columns = columns or len(images)
    titles, pictures = list(images), list(images.values())
    head = max((name.count("\n") + 1 if name else 0) for name in titles) * _LINE + 4
    widths = [max(p.width, w) for p, w in zip(pictures, _widths(titles), strict=True)]
    rows = [range(i, min(i + columns, len(pictures))) for i in range(0, len(pictures), columns)]
    heights = [max(pictures[i].height for i in row) + head for row in rows]
    wide = max(sum(widths[i] + _GAP for i in row) for row in rows) + _GAP
    tall = sum(heights) + _GAP * (len(rows) + 1)
    places, top = list[tuple[int, int]](), _GAP
    with canvas((wide, tall)) as figure:
        for row, height in zip(rows, heights, strict=True):
            left = _GAP
            for i in row:
                for k, line in enumerate(titles[i].split("\n")):
                    figure.text((left + widths[i] / 2) / wide, 1 - (top + (k + 1) * _LINE - 4) / tall, line.strip(), ha="center")
                places.append((left + (widths[i] - pictures[i].width) // 2, top + head))
                left += widths[i] + _GAP
            top += height + _GAP
        sheet = drawn(figure)
    for image, place in zip(pictures, places, strict=True):
        sheet.paste(image, place)
    return sheet


def _widths(titles: list[str]) -> list[int]:
    """Pixels that titles take."""
    with canvas((100, 100)) as figure:
        found = [figure.text(0, 0, title).get_window_extent().width for title in titles]
    return [int(width) + 2 for width in found]


def digits(x: Tensor, spec: Spec, columns: int, zoom: int = 0) -> Image.Image:
    """Pictures `(N, *shape)` in model space, in rows of `columns`."""
    return picture.mosaic(picture.tiles(x.cpu(), spec), columns, zoom or max(1, 56 // spec.shape[-1]))


def cloud(points: Tensor, limit: float, size: int = 240) -> Image.Image:
    """Points `(N, 2)` in the square of half width `limit`, framed; it is said where none is in there."""
    with canvas((size, size)) as figure:
        axis = _square(figure, limit)
        axis.scatter(*points[:, :2].T.numpy(), s=5, color=COLOURS[0], linewidths=0)
        if not bool((points.abs() < limit).all(1).any()):
            axis.text(0, 0, "all far outside", ha="center", va="center")
        return drawn(figure)


def field(where: Tensor, vectors: Tensor, density: Tensor, limit: float, unit: float, size: int = 380) -> Image.Image:
    """Arrows `(G, 2)` at the points `(G, 2)` of a square grid, over the density `(G,)` there: the denser, the more orange.

    An arrow of length `unit` reaches to the next point; none reaches further than two.
    """
    from matplotlib.colors import LinearSegmentedColormap

    side = round(len(where) ** 0.5)
    reach = 2 * limit / side
    steps = vectors / unit * reach
    steps = steps * (2 * reach / steps.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    with canvas((size, size)) as figure:
        axis = _square(figure, 1.04 * limit)
        shade = (density / density.max()).reshape(side, side).T  # x to the right, y upwards
        orange = LinearSegmentedColormap.from_list("density", ["white", "#f5963c"])
        axis.imshow(
            shade.numpy(), cmap=orange, vmin=0, vmax=1, origin="lower", extent=2 * (-limit, limit), interpolation="bilinear"
        )
        axis.quiver(
            *where.T.numpy(), *steps.T.numpy(), angles="xy", scale_units="xy", scale=1, units="dots", width=1.5, headwidth=4, headlength=4,
            headaxislength=4, minlength=0.5, color="#282828",
        )  # fmt: skip
        axis.set(xlim=(-1.04 * limit, 1.04 * limit), ylim=(-1.04 * limit, 1.04 * limit))
        return drawn(figure)


def _square(figure: Any, limit: float) -> Any:
    """An axis that fills the figure: a frame around the square of half width `limit`, without numbers."""
    figure.set_layout_engine("none")
    axis = figure.add_axes((0, 0, 1, 1), xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[])
    axis.spines[:].set(visible=True, color="#a0a0a0", linewidth=1.5)
    return axis


def few_colours(image: Image.Image) -> Image.Image:
    """For a small file: at most 256 colours; of fewer, greys of digits would take all, and lines lose theirs."""
    return image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def moments(count: int, shown: int) -> list[int]:
    """`shown` numbers of states out of `count`, the first and the last among them."""
    return [round(float(i)) for i in torch.linspace(0, count - 1, min(shown, count))]
