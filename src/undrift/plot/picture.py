"""Pictures of samples: grids, strips from noise to data, animations, and scatter plots of points in the plane."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from undrift.data.spec import Spec
from undrift.storage import Place, open_file, path_of, signature, signed_by, write_atomically

MARGIN = 1
PICTURES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".jp2", ".ppm", ".pnm",
    ".tga", ".qoi", ".pdf",
)  # fmt: skip  # what a picture of ours may be called: what Pillow writes and reads back as it was, and pages; never names of data
_COLOURS = ((40, 80, 160), (200, 90, 30), (40, 130, 60), (130, 60, 150))


def tiles(y: Tensor, spec: Spec) -> NDArray[np.uint8]:
    """Samples in model space as `(N, H, W, 3)` 8-bit colour, the data range mapped to 0..255.

    Images `(N, C, H, W)`: one channel is grey, three are red, green and blue, of four the last is alpha over white; two or more
    than four are averaged to grey. Of volumes `(N, C, D, H, W)` the slice in the middle of D; sequences `(N, C, L)` as curves.
    """
    x = spec.from_model(y).double()
    low = float(x.min()) if spec.low is None else spec.low
    high = float(x.max()) if spec.high is None else spec.high
    unit = ((x - low) / max(high - low, 1e-12)).clamp(0, 1)
    if unit.ndim == 3:
        return np.stack([curves(sample) for sample in unit])
    if unit.ndim == 5:
        unit = unit[:, :, unit.shape[2] // 2]
    if unit.shape[1] == 4:
        unit = unit[:, :3] * unit[:, 3:] + 1 - unit[:, 3:]
    elif unit.shape[1] != 3:
        unit = unit.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    pixels: NDArray[np.uint8] = unit.mul(255).round().to(torch.uint8).movedim(1, -1).numpy()
    return pixels


def curves(sample: Tensor, size: tuple[int, int] = (128, 64)) -> NDArray[np.uint8]:
    """A sequence `(C, L)` in [0, 1] as `(H, W, 3)`: one curve for each of the first eight channels, upwards."""
    width, height = size
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    across = np.linspace(1, width - 2, sample.shape[1])
    for channel, colour in zip(sample.tolist(), _COLOURS * 2, strict=False):
        draw.line([(x, 1 + (height - 3) * (1 - value)) for x, value in zip(across, channel, strict=True)], fill=colour)
    return np.asarray(image)


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
    """Whether samples can be drawn: images, volumes (a slice), sequences (curves), or points in the plane."""
    return len(spec.shape) in (2, 3, 4) or spec.shape == (2,)


def grid(y: Tensor, spec: Spec, columns: int | None = None) -> Image.Image:
    """All samples `(N, *shape)` (model space) in one picture: a grid of images (see `tiles`), or a scatter plot of points."""
    if len(spec.shape) > 1:
        return mosaic(tiles(y.cpu(), spec), columns or max(1, round(len(y) ** 0.5)))
    return scatter(y.cpu(), 3.0)


def strip(trajectory: list[Tensor], spec: Spec, moments: int = 10) -> Image.Image:
    """From noise to data, left to right: one row per sample of the states `(N, *shape)`, or one panel per moment for points."""
    chosen = [trajectory[round(i)] for i in np.linspace(0, len(trajectory) - 1, min(moments, len(trajectory)))]
    if len(spec.shape) > 1:
        pixels = np.stack([tiles(y.cpu(), spec) for y in chosen], 1)
        return mosaic(pixels.reshape(-1, *pixels.shape[2:]), len(chosen))
    panels = [np.asarray(scatter(y.cpu(), 3.0, 200)) for y in chosen]
    return mosaic(np.stack(panels), len(chosen), 1)


def imputed(x: Tensor, mask: Tensor, draws: Tensor, spec: Spec) -> Image.Image:
    """One row per input: the input with its hole in blue, the draws, their mean, and their spread, the widest white.

    Args:
        x: `(B, C, H, W)` in data units; what is missing is not looked at.
        mask: `(B, C, H, W)` bool, True where known.
        draws: `(K, B, C, H, W)` in data units.
    """
    y = spec.to_model(draws)
    shown = tiles(
        torch.cat([spec.to_model(torch.where(mask, x, draws[0]))[None], y, y.mean(0, keepdim=True)]).flatten(0, 1), spec
    )
    spread = y.std(0, correction=0).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    widest = float(spread.max()) or 1.0
    grey = (255 * spread / widest).round().to(torch.uint8).movedim(1, -1).numpy()
    rows = np.concatenate([shown.reshape(-1, *grey.shape), grey[None]])
    hole = (~mask).all(1).numpy()
    rows[0][hole] = (60, 90, 160)
    return mosaic(rows.swapaxes(0, 1).reshape(-1, *grey.shape[1:]), len(rows))


def kind_of(path: Path) -> str | None:
    """Pillow's name of the format that a name stands for: PNG where it has no suffix, None where it is not one of a picture.

    Of formats that this build of Pillow may lack, one is written to see.
    """
    suffix = (path.suffix or path.name * path.name.startswith(".")).lower()
    kind = Image.registered_extensions().get(suffix, "") if suffix in PICTURES else ""
    if not suffix:
        return "PNG"
    try:
        Image.new("RGB", (8, 8)).save(BytesIO(), kind)
    except (OSError, ValueError, KeyError):
        return None
    return kind


def save_image(image: Image.Image, place: Place, by: str = "undrift") -> None:
    """Write a PNG (or what the suffix says), which says who wrote it (see `written_by`), but not when: equal pictures, equal bytes.

    Raises:
        OutputError: it cannot be written.
    """
    kind = kind_of(path_of(place)) or "PNG"  # a pipe may have any name
    about = PngInfo()
    about.add_text("Software", by)
    notes: dict[str, dict[str, Any]] = {"PNG": {"pnginfo": about}, "GIF": {"comment": by.encode()}}
    undated: dict[str, dict[str, Any]] = {"PDF": {"creationDate": None, "modDate": None}}

    def write(path: Path) -> None:
        image.save(path, kind, **notes.get(kind, {}), **undated.get(kind, {}))
        if kind not in notes:
            with open(path, "ab") as file:
                file.write(signature(by))

    write_atomically(place, write)


def written_by(path: Path) -> str:
    """Who wrote a picture or an array of ours, as it is noted there; "" for any other file."""
    if by := signed_by(path):
        return by
    try:
        with open_file(path) as file, Image.open(file, formats=["PNG", "GIF"]) as image:
            said = image.info.get("Software", image.info.get("comment", b""))
            return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    except (OSError, ValueError, SyntaxError):
        return ""


def save_animation(frames: list[Image.Image], place: Place, by: str = "undrift", milliseconds: int = 90) -> None:
    """Write an animated GIF that rests on its last frame, and says who wrote it."""
    durations = [milliseconds] * (len(frames) - 1) + [1500]
    write_atomically(
        place,
        lambda path: frames[0].save(
            path, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, comment=by.encode()
        ),
    )
