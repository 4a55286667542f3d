"""One picture, whatever its format, mode and size, as an array of bytes of one shape."""

from __future__ import annotations

import functools
import hashlib
import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from undrift.error import DataError, nearest

__all__ = ["CHANNELS", "SUFFIXES", "UNREADABLE", "Decoded", "Policy", "decode"]

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
        if isinstance(item, Path) and not stat.S_ISREG(item.stat().st_mode):  # reading a pipe or a device would never end
            return Decoded("", None, "is no file but a folder, a pipe or a device")
        content = item.read_bytes() if isinstance(item, Path) else item
    except OSError as error:
        return Decoded("", None, f"cannot be read ({error.strerror or error})")
    if not content:
        return Decoded(digest(b""), None, "is empty (0 bytes)")
    try:
        pixels, remark = _pixels(content, policy)
    except UnidentifiedImageError:
        return Decoded(digest(content), None, "is not a picture of a known format, whatever its name says")
    except _Refused as refusal:
        return Decoded(digest(content), None, str(refusal))
    except Image.DecompressionBombError:
        return Decoded(digest(content), None, _BOMB)
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them trip over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return Decoded(digest(content), None, f"is damaged or cut short ({reason})")
    return Decoded(digest(content), pixels, remark)


class _Refused(Exception):
    """A picture that is whole but of no use; the message says why."""


_BOMB = "has more pixels than any camera takes and may be a decompression bomb; shrink it"


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF depends on how Pillow was built


def _pixels(content: bytes, policy: Policy) -> tuple[NDArray[np.uint8], str]:
    """(C, H, W) and remarks. Raises whatever is wrong with the file."""
    size, remarks = (policy.width, policy.height), []
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 2**27):
            raise _Refused(_BOMB)
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # cameras write MPO, a JPEG with previews
            remarks.append("frames")
        image.draft(image.mode, (2 * max(size),) * 2)  # JPEG: shrink by 2, 4 or 8 while decoding, to no less than twice the size
        image.load()
        flat = _flat(_upright(image, remarks), policy, remarks)
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
    if orientation in range(2, 9):
        remarks.append("turned")
    return turned


def _flat(image: Image.Image, policy: Policy, remarks: list[str]) -> Image.Image:
    """8 bits a channel, in the mode of the policy; transparent pixels on the background where there is no alpha."""
    if image.mode.startswith("I;16"):
        remarks.append("16 bits")
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise _Refused(
            f"has 32 bits a pixel (mode {image.mode}), which have no fixed range; save 8 or 16 bits, or train on a .npy"
        )
    if image.mode == "CMYK":
        remarks.append("CMYK")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        seen_through = bool(np.asarray(image.getchannel("A")).min() < 255)
        remarks += ["alpha"] * seen_through
        if policy.channels != 4 and seen_through:
            below = Image.new("RGBA", image.size, policy.background)
            below.alpha_composite(image)
            image = below.convert("RGB")
    return image.convert(CHANNELS[policy.channels])


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
