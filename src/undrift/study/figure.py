"""Figures in the papers' layouts, drawn with Pillow: panels with titles, bars, arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from undrift.data import Spec
from undrift.plot import picture
from undrift.plot.chart import COLOURS, Axis

_SIZE, _GAP = 13, 10


def panels(images: Mapping[str, Image.Image], columns: int = 0) -> Image.Image:
    """Pictures side by side, each under its title; `columns` to a row (0: all in one). Titles in Latin letters: no font has all."""
    font, columns = ImageFont.load_default(_SIZE), columns or len(images)
    boxes = {name: [line.strip() for line in name.split("\n")] for name in images}
    head = max(map(len, boxes.values())) * (_SIZE + 4) + 4
    width = [max([image.width, *(int(font.getlength(line)) + 2 for line in boxes[name])]) for name, image in images.items()]
    rows = [range(i, min(i + columns, len(images))) for i in range(0, len(images), columns)]
    drawn = list(images.items())
    high = [max(drawn[i][1].height for i in row) + head for row in rows]
    wide = max(sum(width[i] + _GAP for i in row) for row in rows) + _GAP
    sheet = Image.new("RGB", (wide, sum(high) + _GAP * (len(rows) + 1)), "white")
    pen, top = ImageDraw.Draw(sheet), _GAP
    for row, tall in zip(rows, high, strict=True):
        left = _GAP
        for i in row:
            name, image = drawn[i]
            for k, line in enumerate(boxes[name]):
                pen.text((left + width[i] // 2, top + k * (_SIZE + 4)), line, fill="black", font=font, anchor="ma")
            sheet.paste(image, (left + (width[i] - image.width) // 2, top + head))
            left += width[i] + _GAP
        top += tall + _GAP
    return sheet


def digits(x: Tensor, spec: Spec, columns: int, zoom: int = 0) -> Image.Image:
    """Pictures `(N, *shape)` in model space, in rows of `columns`."""
    return picture.mosaic(picture.tiles(x.cpu(), spec), columns, zoom or max(1, 56 // spec.shape[-1]))


def cloud(points: Tensor, limit: float, size: int = 240) -> Image.Image:
    """Points `(N, 2)` in the square of half width `limit`, framed; it is said where none is in there."""
    image = picture.scatter(points, limit, size)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, size - 1, size - 1), outline=(160, 160, 160))
    if not bool((points.abs() < limit).all(1).any()):
        pen.text((size / 2, size / 2), "all far outside", fill="black", font=ImageFont.load_default(_SIZE), anchor="mm")
    return image


def field(where: Tensor, vectors: Tensor, density: Tensor, limit: float, unit: float, size: int = 380) -> Image.Image:
    """Arrows `(G, 2)` at the points `(G, 2)` of a square grid, over the density `(G,)` there: the denser, the more orange.

    An arrow of length `unit` reaches to the next point; none reaches further than two.
    """
    side = round(len(where) ** 0.5)
    shade = (density / density.max()).reshape(side, side).T.flip(0).double().numpy()[..., None]  # x to the right, y upwards
    colours = (1 - shade) * np.array([255.0, 255.0, 255.0]) + shade * np.array([245.0, 150.0, 60.0])
    image = Image.fromarray(colours.astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    reach = size / side
    steps = vectors / unit * reach
    steps = steps * (2 * reach / steps.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    for (x, y), (u, v) in zip(where.tolist(), steps.tolist(), strict=True):
        a, b = (x / limit + 1) / 2 * (size - 1), (1 - y / limit) / 2 * (size - 1)
        tip = (a + u, b - v)
        pen.line((a, b, *tip), fill=(40, 40, 40))
        pen.ellipse((tip[0] - 1.5, tip[1] - 1.5, tip[0] + 1.5, tip[1] + 1.5), fill=(40, 40, 40))
    return image


def bars(
    groups: Mapping[str, Sequence[float]], names: Sequence[str], unit: str = "%", size: tuple[int, int] = (760, 320)
) -> Image.Image:
    """One bar for each group at each name; values from 0 up."""
    font, (width, height) = ImageFont.load_default(_SIZE), size
    left, right, top, bottom = 44, width - 12, 52, height - 30
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    axis = Axis([0.0, max(v for values in groups.values() for v in values) or 1.0])
    most = max(axis.ticks()[-1], *(v for values in groups.values() for v in values))
    slot = (right - left) / len(names)
    thick = 0.8 * slot / len(groups)
    for tick in axis.ticks():
        y = bottom - (bottom - top) * tick / most
        pen.line((left, y, right, y), fill=(220, 220, 220))
        pen.text((left - 6, y), f"{tick:g}", fill="black", font=font, anchor="rm")
    pen.text((4, 26), unit, fill="black", font=font)
    along = left
    for g, (name, values) in enumerate(groups.items()):
        colour = COLOURS[g % len(COLOURS)]
        pen.rectangle((along, 6, along + 10, 16), fill=colour)
        pen.text((along + 14, 11), name, fill="black", font=font, anchor="lm")
        along += int(font.getlength(name)) + 34
        for k, value in enumerate(values):
            x = left + k * slot + 0.1 * slot + g * thick
            pen.rectangle((x, bottom - (bottom - top) * value / most, x + thick - 1, bottom), fill=colour)
    for k, name in enumerate(names):
        pen.text((left + (k + 0.5) * slot, bottom + 6), name, fill="black", font=font, anchor="ma")
    return image


def few_colours(image: Image.Image) -> Image.Image:
    """For a small file: at most 64 colours."""
    return image.convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def moments(count: int, shown: int) -> list[int]:
    """`shown` numbers of states out of `count`, the first and the last among them."""
    return [round(float(i)) for i in torch.linspace(0, count - 1, min(shown, count))]
