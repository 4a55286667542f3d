"""One picture at a time: modes, sizes, orientations, and files that are broken."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from undrift.data.decode import Policy, decode
from undrift.error import DataError


def packed(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seen(content, channels=3, size=(1, 1), fit="crop", background="white"):
    made = decode(content, Policy(*size, fit, channels, background))
    assert made.pixels is not None, made.remark
    assert made.pixels.shape == (channels, *size)
    assert made.pixels.dtype == np.uint8
    return made


PALETTE = Image.new("P", (1, 1), 1)
PALETTE.putpalette([9, 9, 9, 10, 20, 30])


@pytest.mark.parametrize(
    ("image", "kind", "channels", "colour", "remark"),
    [
        (Image.new("L", (1, 1), 77), "PNG", 3, (77, 77, 77), ""),
        (Image.new("L", (1, 1), 77), "PNG", 1, (77,), ""),
        (Image.new("1", (1, 1), 1), "PNG", 1, (255,), ""),
        (Image.new("RGB", (1, 1), (10, 20, 30)), "PNG", 3, (10, 20, 30), ""),
        (Image.new("RGB", (1, 1), (10, 20, 30)), "PNG", 4, (10, 20, 30, 255), ""),
        (Image.new("RGB", (1, 1), (255, 0, 0)), "PNG", 1, (76,), ""),  # ITU-R 601: 0.299 of red
        (PALETTE, "PNG", 3, (10, 20, 30), ""),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG", 3, (127, 127, 127), "alpha"),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG", 1, (127,), "alpha"),
        (Image.new("RGBA", (1, 1), (10, 20, 30, 40)), "PNG", 4, (10, 20, 30, 40), "alpha"),
        (Image.new("RGBA", (1, 1), (10, 20, 30, 255)), "PNG", 3, (10, 20, 30), ""),
        (Image.new("LA", (1, 1), (50, 0)), "PNG", 3, (255, 255, 255), "alpha"),
        (Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "TIFF", 3, (0, 255, 255), "CMYK"),
        (Image.fromarray(np.array([[32896]], np.uint16)), "PNG", 1, (128,), "16 bits"),
        (Image.fromarray(np.array([[65535]], np.uint16)), "TIFF", 3, (255, 255, 255), "16 bits"),
    ],
)
def test_modes(image, kind, channels, colour, remark):
    made = seen(packed(image, kind), channels)
    assert tuple(made.pixels[:, 0, 0]) == colour
    assert made.remark == remark


def test_transparent_on_black():
    content = packed(Image.new("RGBA", (1, 1), (200, 200, 200, 0)))
    assert seen(content, background="black").pixels.max() == 0
    assert seen(content).pixels.min() == 255


def test_a_transparent_colour_of_a_palette():
    image = PALETTE.copy()
    made = seen(packed(image, "PNG", transparency=1))
    assert made.remark == "alpha"
    assert made.pixels.min() == 255


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        made = seen(packed(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert tuple(made.pixels[:, 0, 0]) == (255, 0, 0)
        assert made.remark == "frames"


def half(width, height):
    """Left half black, right half white."""
    x = np.zeros((height, width, 3), np.uint8)
    x[:, width // 2 :] = 255
    return Image.fromarray(x)


@pytest.mark.parametrize(("tag", "dark"), [(1, "left"), (2, "right"), (3, "right"), (6, "top"), (8, "bottom")])
def test_upright_as_exif_says(tag, dark):
    exif = Image.Exif()
    exif[0x0112] = tag
    made = seen(packed(half(64, 64), "JPEG", exif=exif, quality=95), 1, (16, 16))
    parts = {
        "left": made.pixels[:, :, :6],
        "right": made.pixels[:, :, 10:],
        "top": made.pixels[:, :6],
        "bottom": made.pixels[:, 10:],
    }
    assert parts[dark].max() < 20
    assert parts[{"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[dark]].min() > 235
    assert made.remark == ("turned" if tag > 1 else "")


def test_broken_exif_spoils_no_picture():
    made = seen(packed(Image.new("RGB", (8, 8), (9, 9, 9)), "PNG", exif=b"Exif\0\0nonsense" * 9), 3, (8, 8))
    assert (made.pixels == 9).all() and made.remark == ""


def test_fit():
    x = np.full((8, 16, 3), 100, np.uint8)
    x[:, :4], x[:, 12:] = 0, 200  # a quarter black, half grey, a quarter light
    content = packed(Image.fromarray(x))
    assert (seen(content, 1, (8, 8), "crop").pixels == 100).all()
    stretched = seen(content, 1, (8, 8), "stretch").pixels[0]
    assert stretched[:, 0].max() < 20 < 180 < stretched[:, -1].min()
    padded = seen(content, 1, (16, 16), "pad").pixels[0]
    assert (padded[:4] == 255).all() and (padded[12:] == 255).all() and (padded[4:12] == x[:, :, 0]).all()
    assert (seen(content, 1, (16, 16), "pad", "black").pixels[0, :4] == 0).all()
    assert (seen(content, 4, (16, 16), "pad").pixels[3, :4] == 0).all()  # bars are transparent where there is alpha


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(3, 11), (11, 3), (7, 7)])
def test_any_shape_from_any(fit, size):
    for shape in [(1, 1), (50, 9), (9, 50)]:
        made = seen(packed(Image.new("RGB", shape, (5, 6, 7))), 3, size, fit)
        assert "enlarged" in made.remark if shape == (1, 1) else True


def test_large_jpegs_are_shrunk_while_decoding_to_the_same():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((1600, 1200), Image.Resampling.BICUBIC)
    quick = seen(packed(image, "JPEG", quality=95), 3, (24, 24)).pixels.astype(int)
    exact = seen(packed(image, "PNG"), 3, (24, 24)).pixels.astype(int)
    assert np.abs(quick - exact).max() < 12
    assert np.abs(quick - exact).mean() < 2


def png_that_claims(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (b"Dear diary", "is not a picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture of a known format"),
        (packed(Image.effect_noise((64, 64), 50), "JPEG")[:1500], "is damaged or cut short (image file is truncated"),
        (packed(half(64, 64), "PNG")[:60], "is damaged or cut short ("),
        (png_that_claims(60_000, 60_000), "may be a decompression bomb"),
        (png_that_claims(11_000, 11_000), "may be a decompression bomb"),
        (packed(Image.new("F", (2, 2)), "TIFF"), "32 bits a pixel (mode F)"),
        (packed(Image.new("I", (2, 2)), "TIFF"), "32 bits a pixel (mode I)"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_broken_is_named(content, reason):
    made = decode(content, Policy(8, 8))
    assert made.pixels is None
    assert reason in made.remark
    assert "\n" not in made.remark


def test_a_flipped_bit_of_a_png_is_noticed():
    content = bytearray(packed(Image.effect_noise((64, 64), 50), "PNG"))
    content[len(content) // 2] ^= 4
    assert "is damaged" in decode(bytes(content), Policy(8, 8)).remark


def test_a_missing_file(tmp_path):
    assert decode(tmp_path / "gone.png", Policy(8, 8)).remark == "cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "corp"}, 'data.fit "corp" is unknown — did you mean "crop"'),
        ({"channels": 2}, "data.channels=2: give 1"),
        ({"background": "pink"}, 'data.background "pink" is unknown — known: white, black'),
        ({"height": 0}, "data.size="),
    ],
)
def test_wrong_policies(options, message):
    with pytest.raises(DataError) as caught:
        Policy(**{"height": 8, "width": 8, **options})
    assert message in str(caught.value)


def test_the_transparent_value_of_sixteen_bits_is_laid_on_the_background():
    """A PNG of 16 bits may call one grey transparent, as one of 8 bits may; levels that share its first 8 bits stay."""
    deep = Image.fromarray(np.array([[0, 1, 65535, 300]], np.uint16))
    for value, wanted in ((0, [255, 0, 255, 1]), (300, [0, 0, 255, 255])):
        content = with_transparent(packed(deep), value)
        assert seen(content, 1, (1, 4)).pixels.tolist() == [[wanted]]
    assert seen(with_transparent(packed(deep), 0), 1, (1, 4), background="black").pixels.tolist() == [[[0, 0, 255, 1]]]


def with_transparent(png, value):
    """A grey PNG with a tRNS chunk in front of its pixels."""
    chunk = b"tRNS" + struct.pack(">H", value)
    at = png.index(b"IDAT") - 4
    return png[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[at:]
