"""Pictures of samples: grids, strips from noise to data, animations, and scatter plots of points in the plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from undrift.data.spec import Spec
from undrift.model import write_atomically

MARGIN = 1


def tiles(y: Tensor, spec: Spec) -> NDArray[np.uint8]:
    """Images `(N, C, H, W)` in model space as `(N, H, W, 3)` 8-bit colour, the data range mapped to 0..255.

    One channel is grey, three are red, green and blue, of four the last is alpha over white; two or more than four are
    averaged to grey.
    """
    x = spec.from_model(y).double()
    low = float(x.min()) if spec.low is None else spec.low
    high = float(x.max()) if spec.high is None else spec.high
    unit = ((x - low) / max(high - low, 1e-12)).clamp(0, 1)
    if unit.shape[1] == 4:
        unit = unit[:, :3] * unit[:, 3:] + 1 - unit[:, 3:]
    elif unit.shape[1] != 3:
        unit = unit.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    pixels: NDArray[np.uint8] = unit.mul(255).round().to(torch.uint8).movedim(1, -1).numpy()
    return pixels


def mosaic(pixels: NDArray[np.uint8], columns: int, zoom: int | None = None) -> Image.Image:
    """`(N, H, W, 3)` tiles in rows of `columns`, enlarged by a whole number so that small images can be seen."""
    n, height, width, _ = pixels.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN, 3), 40, np.uint8)
    for i, tile in enumerate(pixels):
        top, left = MARGIN + i // columns * (height + MARGIN), MARGIN + i % columns * (width + MARGIN)
        sheet[top : top + height, left : left + width] = tile
    zoom = zoom or max(1, min(6, 640 // max(sheet.shape[:2])))
    return Image.fromarray(sheet.repeat(zoom, 0).repeat(zoom, 1))


def scatter(points: Tensor, limit: float, size: int = 480) -> Image.Image:
    """Points `(N, 2)` in the square [-limit, limit]^2, y upwards."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    where = (points[:, :2].double() * torch.tensor([1.0, -1.0]) / limit + 1) / 2 * size
    for x, y in where.tolist():
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(40, 80, 160))
    return image


def drawable(spec: Spec) -> bool:
    """Whether samples can be drawn: images, or points in the plane."""
    return len(spec.shape) == 3 or spec.shape == (2,)


def grid(y: Tensor, spec: Spec, columns: int | None = None) -> Image.Image:
    """All samples `(N, *shape)` (model space) in one picture: a grid of images, or a scatter plot of points."""
    if len(spec.shape) == 3:
        return mosaic(tiles(y.cpu(), spec), columns or max(1, round(len(y) ** 0.5)))
    return scatter(y.cpu(), 3.0)


def strip(trajectory: list[Tensor], spec: Spec, moments: int = 10) -> Image.Image:
    """From noise to data, left to right: one row per sample of the states `(N, *shape)`, or one panel per moment for points."""
    chosen = [trajectory[round(i)] for i in np.linspace(0, len(trajectory) - 1, min(moments, len(trajectory)))]
    if len(spec.shape) == 3:
        pixels = np.stack([tiles(y.cpu(), spec) for y in chosen], 1)
        return mosaic(pixels.reshape(-1, *pixels.shape[2:]), len(chosen))
    panels = [np.asarray(scatter(y.cpu(), 3.0, 200)) for y in chosen]
    return mosaic(np.stack(panels), len(chosen), 1)


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG (or what the suffix says). Raises OutputError if it cannot."""
    kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    write_atomically(path, lambda p: image.save(p, kind))


def save_animation(frames: list[Image.Image], path: Path, milliseconds: int = 90) -> None:
    """Write an animated GIF that rests on its last frame."""
    durations = [milliseconds] * (len(frames) - 1) + [1500]
    write_atomically(
        path, lambda p: frames[0].save(p, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    )
