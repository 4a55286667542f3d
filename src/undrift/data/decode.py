"""One picture, whatever its format, mode and size, as an array of bytes of one shape."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from undrift.error import DataError, nearest, short
from undrift.storage import read_bytes, reason

__all__ = ["CHANNELS", "SUFFIXES", "UNREADABLE", "Decoded", "Policy", "as_seen", "decode", "over", "read_picture"]

Fit = Literal["crop", "pad", "stretch"]
Background = Literal["white", "black"]

# Only these: Pillow would also hand PostScript to an interpreter, or read formats that are documents rather than pictures.
_FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX", "QOI", "SGI",
)  # fmt: skip
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga", ".ico", ".pcx", ".qoi", ".sgi",
}  # fmt: skip
UNREADABLE = {".heic", ".heif", ".jxl", ".svg", ".eps", ".psd", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf"}  # pictures too
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Policy:
    """How pictures of any size become arrays of one.

    Args:
        height, width: Pixels, at least 1.
        fit: "crop" fills the frame and cuts what stands over, evenly on both sides; "pad" shows the whole picture with bars
            of `background`; "stretch" changes the proportions.
        channels: 1 (grey), 3 (red, green, blue) or 4 (and alpha).
        background: What transparent pixels lie on where there is no alpha channel, and the colour of bars (transparent where
            there is one).

    Raises:
        DataError: a value that is none of these.
    """

    height: int
    width: int
    fit: Fit = "crop"
    channels: int = 3
    background: Background = "white"

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise DataError(f'data.fit "{self.fit}" is unknown{nearest(self.fit, get_args(Fit))}')
        if self.background not in get_args(Background):
            raise DataError(f'data.background "{self.background}" is unknown{nearest(self.background, get_args(Background))}')
        if isinstance(self.channels, bool) or self.channels not in CHANNELS:
            raise DataError(f"data.channels={self.channels}: give 1 (grey), 3 (colour) or 4 (colour and alpha)")
        if min(self.height, self.width) < 1:
            raise DataError(f"data.size={[self.height, self.width]}: give a side in pixels, or [height, width]")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


class Decoded(NamedTuple):
    """What became of one file.

    Attributes:
        content: BLAKE2b of its bytes, 32 hexadecimal digits.
        pixels: (C, H, W) uint8, or None where it could not be read.
        remark: What was done to it ("alpha, turned"), or why it could not be read ("is empty (0 bytes)").
    """

    content: str
    pixels: NDArray[np.uint8] | None
    remark: str


def digest(content: Any) -> str:
    """BLAKE2b of some bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def decode(item: Path | bytes, policy: Policy) -> Decoded:
    """A file, or its content, as an array; never raises for what is wrong with it, but says so."""
    try:
        content = read_bytes(item, 2**31, own=False) if isinstance(item, Path) else item
    except OSError as error:
        return Decoded("", None, f"cannot be read ({reason(error)})")
    if not content:
        return Decoded(digest(b""), None, "is empty (0 bytes)")
    try:
        with _opened(content) as image:
            pixels, remark = _pixels(image, policy)
    except _Refused as refusal:
        return Decoded(digest(content), None, str(refusal))
    return Decoded(digest(content), pixels, remark)


def read_picture(path: Path) -> Image.Image:
    """A picture as one sees it, whatever its format: upright, in mode L, RGB or (where it is transparent) RGBA.

    Raises:
        DataError: it is missing, not a picture, damaged, or one of 32 bits.
    """
    try:
        content = read_bytes(path, 2**31, own=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a picture, a .npy or a .npz") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); give a picture, a .npy or a .npz") from None
    try:
        with _opened(content) as image:
            image.load()
            return as_seen(image)
    except _Refused as refusal:
        raise DataError(f"{path}: {refusal}; give a PNG, a .npy or a .npz") from None


def as_seen(image: Image.Image, remarks: list[str] | None = None) -> Image.Image:
    """A loaded picture upright, with 8 bits a channel, in mode L, RGB or (where it is transparent) RGBA.

    Args:
        image: In any mode.
        remarks: What was done is added here.

    Raises:
        ValueError: it has 32 bits a pixel, which have no fixed range.
    """
    remarks = [] if remarks is None else remarks
    image = _upright(image, remarks)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # Pillow spreads any PGM over 16 bits
        remarks.append("16 bits")
        shallow, gone = Image.fromarray(_eight_bits(image)), image.info.get("transparency")
        if isinstance(gone, int):  # the value of the pixels that are not there, in 16 bits
            seen = np.where(np.asarray(image) == gone, 0, 255).astype(np.uint8)
            shallow = Image.merge("LA", (shallow, Image.fromarray(seen)))
        image = shallow
    elif image.mode in ("I", "F"):
        raise _Refused(
            f"has 32 bits a pixel (mode {image.mode}), which have no fixed range; save 8 or 16 bits, or train on a .npy"
        )
    if image.mode == "CMYK":
        remarks.append("CMYK")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        if np.asarray(clear.getchannel("A")).min() < 255:
            remarks.append("alpha")
            return clear
    grey = image.mode in ("1", "L", "LA", "La")
    return image if image.mode in ("L", "RGB") else image.convert("L" if grey else "RGB")


def over(image: Image.Image, background: str) -> Image.Image:
    """A picture in mode RGBA on a colour; any other as it is."""
    if image.mode != "RGBA":
        return image
    below = Image.new("RGBA", image.size, background)
    below.alpha_composite(image)
    return below.convert("RGB")


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """A picture of one of our formats. Whatever is wrong with it is a _Refused, also where it is found out while it is used."""
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 2**27):
                raise _Refused(_BOMB)
            yield image
    except _Refused:
        raise
    except UnidentifiedImageError:
        raise _Refused("is not a picture of a known format, whatever its name says") from None
    except Image.DecompressionBombError:
        raise _Refused(_BOMB) from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them trip over
        raise _Refused(f"is damaged or cut short ({short(reason(error), 100)})") from None


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Values of 16 bits as the nearest of 8, a few rows at a time: a large picture would take many times its size."""
    deep = np.asarray(image)
    shallow = np.empty(deep.shape, np.uint8)
    step = max(1, 2**20 // max(1, deep.shape[1]))
    for i in range(0, len(deep), step):
        shallow[i : i + step] = (deep[i : i + step].astype(np.uint32) + 128) // 257
    return shallow


class _Refused(ValueError):
    """A picture that is whole but of no use; the message says why."""


_BOMB = "has more pixels than any camera takes and may be a decompression bomb; shrink it"


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF depends on how Pillow was built


def _pixels(image: Image.Image, policy: Policy) -> tuple[NDArray[np.uint8], str]:
    """(C, H, W) and remarks. Raises whatever is wrong with the picture."""
    size, remarks = (policy.width, policy.height), []
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # cameras write MPO, a JPEG with previews
        remarks.append("frames")
    image.draft(image.mode, (2 * max(size),) * 2)  # JPEG: shrink by 2, 4 or 8 while decoding, to no less than twice the size
    image.load()
    seen = as_seen(image, remarks)
    flat = (seen if policy.channels == 4 else over(seen, policy.background)).convert(CHANNELS[policy.channels])
    scale = (min if policy.fit == "pad" else max)(size[0] / flat.width, size[1] / flat.height)
    if scale > 1:
        remarks.append("enlarged")
    fitted = np.asarray(_fitted(flat, size, policy))
    return np.ascontiguousarray(fitted.reshape(policy.height, policy.width, -1).transpose(2, 0, 1)), ", ".join(remarks)


def _upright(image: Image.Image, remarks: list[str]) -> Image.Image:
    """As its EXIF data say, if they can be read: pixels are no worse for what is written beside them."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        turned = ImageOps.exif_transpose(image)
    except Exception:
        return image
    if orientation not in range(2, 9):
        return image
    remarks.append("turned")
    turned.format = image.format
    return turned


def _fitted(image: Image.Image, size: tuple[int, int], policy: Policy) -> Image.Image:
    if image.size == size:
        return image
    smooth = Image.Resampling.LANCZOS
    if policy.fit == "stretch":
        return image.resize(size, smooth)
    if policy.fit == "crop":
        return ImageOps.fit(image, size, smooth)
    level = 255 if policy.background == "white" else 0
    return ImageOps.pad(image, size, smooth, color=(level, level, level, 0)[: policy.channels] if policy.channels > 1 else level)
