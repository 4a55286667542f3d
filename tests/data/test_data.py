"""The table of data, and how it answers to wrong names."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from undrift.data import DATA, load_data, load_split, moons
from undrift.error import DataError


def test_every_kind_loads(tmp_path):
    np.save(tmp_path / "my.npy", np.zeros((3, 2, 2), np.uint8))
    assert {*DATA} == {"digits", "captions", "mnist", "toy", "array", "images"}
    assert load_data("captions", n=5).spec.shape == (1, 16, 16)
    assert load_data("digits").spec.shape == (1, 8, 8)
    assert load_data("array", tmp_path / "my.npy").spec.shape == (1, 2, 2)
    with pytest.raises(DataError, match=r"mnist: no file t10k-images-idx3-ubyte\.gz"):
        load_data("mnist", str(tmp_path), split="test")


def test_options_reach_the_loader():
    assert torch.equal(load_data("toy", name="moons", n=20, seed=5).raw(), moons(20, 5).raw())


@pytest.mark.parametrize(
    ("kind", "data_dir", "options", "message"),
    [
        ("mnits", None, {}, r'data "mnits" is unknown — did you mean "mnist"\?'),
        ({}, None, {}, 'data "{}" is unknown — known: digits'),
        (["toy"], None, {}, r"data \"\['toy'\]\" is unknown"),
        ("cars", None, {}, 'data "cars" is unknown — known: digits, captions, mnist, toy, array, images'),
        ("mnist", None, {}, "mnist: .* give --data-dir with the folder with the four IDX files of MNIST"),
        ("array", None, {}, "array: .* give --data-dir with a .npy, .npz or .parquet file"),
        ("digits", "here", {}, "digits: the data come with the library; leave out --data-dir here"),
        ("toy", None, {"sed": 1}, r'toy: option "sed" is unknown — did you mean "seed"\?'),
        ("mnist", "here", {"data_dirs": 1}, 'mnist: option "data_dirs" is unknown — known: split'),
        ("digits", None, {"split": "test"}, 'digits: option "split" is unknown — known: downsample'),
        ("images", "", {}, "images: .* give --data-dir with a folder of pictures"),
        ("images", "here", {"workers": "many"}, r"data\.workers=many: give a valid integer"),
        ("images", "here", {"workers": -1}, r"data\.workers=-1: give a number of threads from 1 up"),
        ("images", "here", {"max_classes": 1.5}, r"data\.max_classes=1\.5: give a valid integer"),
        ("images", "here", {"classes": "cat"}, r"data\.classes=cat: give a list"),
        ("images", "here", {"size": "large"}, r"data\.size=large: give a valid integer or a list"),
        ("images", "here", {"cache": 7}, r"data\.cache=7: give a valid string"),
        ("toy", None, {"name": ["moons"]}, r"data\.name=\['moons'\]: give a valid string"),
    ],
)
def test_wrong_names(kind, data_dir, options, message):
    for load in (load_data, load_split):
        with pytest.raises(DataError, match=message):
            load(kind, data_dir, **options)


def test_scikit_learn_is_imported_only_for_the_digits():
    code = "import sys\nfrom undrift.data import load_data\n"
    code += "load_data('toy', n=5); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
