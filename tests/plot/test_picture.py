"""Pictures show what they should."""

import time

import numpy as np
import pytest
import torch

from undrift.data import Spec
from undrift.plot import picture


def test_tiles_map_the_range_to_grey():
    spec = Spec.bounded((1, 2, 2), 0, 16, integer=True)
    y = torch.tensor([[[[-1.0, 1.0], [0.0, 5.0]]]])
    assert picture.tiles(y, spec)[0, :, :, 0].tolist() == [[0, 255], [128, 255]]


def test_colours_and_alpha():
    rgb = Spec.bounded((3, 1, 1), 0, 255, integer=True)
    assert picture.tiles(torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1), rgb)[0, 0, 0].tolist() == [255, 0, 128]
    rgba = Spec.bounded((4, 1, 1), 0, 255, integer=True)
    assert picture.tiles(torch.tensor([-1.0, -1.0, -1.0, -1.0]).view(1, 4, 1, 1), rgba)[0, 0, 0].tolist() == [255, 255, 255]


def test_mosaic_places_tiles_in_rows():
    pixels = np.zeros((6, 2, 2, 3), np.uint8)
    pixels[4] = 200
    sheet = np.asarray(picture.mosaic(pixels, 3, 1))
    assert sheet.shape == (7, 10, 3)
    assert (sheet[4:6, 4:6] == 200).all()
    assert (sheet == 200).sum() == 12


def test_scatter_puts_y_up():
    image = np.asarray(picture.scatter(torch.tensor([[2.0, 2.0]]), 3.0, 90))
    dark = np.argwhere(image[:, :, 0] < 100)
    assert (dark[:, 0] < 30).all()
    assert (dark[:, 1] > 60).all()


def test_animation_and_strip(tmp_path):
    spec = Spec.bounded((1, 4, 4), 0, 255, integer=True)
    states = [torch.full((3, 1, 4, 4), v) for v in (-1.0, 0.0, 1.0)]
    strip = np.asarray(picture.strip(states, spec))
    assert strip[strip.shape[0] // 6, strip.shape[1] // 6, 0] == 0
    assert strip[strip.shape[0] // 6, 5 * strip.shape[1] // 6, 0] == 255
    picture.save_animation([picture.grid(s, spec) for s in states], tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes()[:3] == b"GIF"


def test_of_a_volume_the_middle_slice():
    spec = Spec.bounded((1, 5, 2, 3), 0, 255, integer=True)
    y = torch.full((1, 1, 5, 2, 3), -1.0)
    y[:, :, 2] = 1.0
    assert picture.drawable(spec)
    assert (picture.tiles(y, spec) == 255).all()
    assert picture.tiles(y, spec).shape == (1, 2, 3, 3)


def test_sequences_are_curves():
    spec = Spec.bounded((1, 50), 0, 255, integer=True)
    y = torch.linspace(-1, 1, 50).view(1, 1, 50)
    assert picture.drawable(spec)
    image = picture.tiles(y, spec)[0]
    height, width = np.argwhere(image[:, :, 0] < 100).T
    assert np.corrcoef(height, width)[0, 1] < -0.99  # upwards to the right
    wide, one = (picture.grid(y.expand(n, 1, 50), spec, n) for n in (4, 1))
    assert (wide.width / wide.height, one.width / one.height) == ((4 * 129 + 1) / 66, 130 / 66)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".jpg", ".webp", ".tiff"])
def test_a_file_says_nothing_of_when_it_was_written(suffix, tmp_path, monkeypatch):
    image = picture.mosaic(np.zeros((2, 4, 4, 3), np.uint8), 2)
    found = []
    for year in (2001, 2002):
        then = time.strptime(str(year), "%Y")
        monkeypatch.setattr(time, "gmtime", lambda *_, then=then: then)
        picture.save_image(image, tmp_path / f"a{suffix}")
        found.append((tmp_path / f"a{suffix}").read_bytes())
    assert found[0] == found[1]
