"""Files that are given to a model: its data settle the axes of an array and which number a class has, for every command alike."""

import time

import numpy as np
import pytest
from rich.console import Console

from conftest import refused, undrift
from undrift.training.session import train_run

QUICK = ("--steps", "1", "--no-bound")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model of two moons, whose classes are upper and lower, in this order, which is not that of the alphabet."""
    folder = tmp_path_factory.mktemp("toy") / "run"
    few = {"steps": 20, "data.n": 200, "network.width": 16, "network.depth": 1, "sample_every": 0, "monitor_every": 0,
           "quality_every": 0, "device": "cpu"}  # fmt: skip
    train_run("toy", {"data.name": "moons"} | few, folder, False, Console(quiet=True), time.perf_counter())
    return folder


def asked(toy, folder, labels, capsys):
    x = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
    np.savez(folder / "t.npz", x=x, labels=labels)
    words = ("likelihood", toy, folder / "t.npz", "--given-class", *QUICK, "--out", folder / "h.png")
    code, out, err = undrift(*words, capsys=capsys)
    assert (code, err) == (0, "")
    return out.split("\n")[1].split()[3:6]  # without the seconds


def test_classes_of_a_file_are_those_of_the_model_by_name(toy, tmp_path, capsys):
    by_name = asked(toy, tmp_path, ["upper"] * 6 + ["lower"] * 6, capsys)
    assert by_name == asked(toy, tmp_path, [0] * 6 + [1] * 6, capsys)
    assert by_name != asked(toy, tmp_path, [1] * 6 + [0] * 6, capsys)


@pytest.mark.parametrize("labels, message", [
    (["nope"] * 6 + ["zebra"] * 6, 'class "nope" is unknown'), ([0] * 6 + [2] * 6, "class 2 is not in 0..1"),
])  # fmt: skip
def test_a_class_that_the_model_does_not_know_is_refused(toy, tmp_path, capsys, labels, message):
    np.savez(tmp_path / "t.npz", x=np.zeros((12, 2), "float32"), labels=labels)
    refused(("likelihood", toy, tmp_path / "t.npz", "--given-class", *QUICK), message, tmp_path, capsys)
    err = undrift("likelihood", toy, tmp_path / "t.npz", "--given-class", *QUICK, capsys=capsys)[2]
    assert "upper, lower" in err and "t.npz" in err
    words = ("likelihood", toy, tmp_path / "t.npz", *QUICK, "--out", tmp_path / "h.png")
    assert undrift(*words, capsys=capsys)[0] == 0  # where classes are not asked for, it does not matter


def test_other_data_of_a_run_have_its_classes(toy, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, labels in (("a", ["x", "y"]), ("b", ["y", "z"])):
        np.savez(tmp_path / f"{name}.npz", x=rng.normal(size=(60, 2)), labels=labels * 30)
    few = ("steps=2", "network.kind=mlp", "network.width=8", "network.depth=1", "sample_every=0", "device=cpu", "batch_size=8")
    run = tmp_path / "run"
    assert undrift("train", "array", *few, "--data-dir", tmp_path / "a.npz", "--out", run, capsys=capsys)[0] == 0
    words = ("likelihood", run, "--given-class", *QUICK, "--data-dir", tmp_path / "b.npz")
    refused(words, "has other classes than the model", tmp_path, capsys)


@pytest.mark.parametrize("lay", [
    lambda x: x, lambda x: x[:, 0], lambda x: np.moveaxis(x, 1, -1), lambda x: x[:1], lambda x: x[0], lambda x: x[0, 0],
    lambda x: x[0, 0, :, :, None],
], ids=["NCHW", "NHW", "NHWC", "one of N", "CHW", "HW", "HWC"])  # fmt: skip
@pytest.mark.parametrize("words", [
    ("likelihood", "RUN", "FILE", "--steps", "1", "--no-bound", "--out", "OUT"),
    ("sample", "RUN", "--from", "FILE", "--steps", "1", "--out", "OUT"),
    ("impute", "RUN", "FILE", "--mask", "left", "--draws", "1", "--steps", "1", "--out", "OUT"),
    ("restore", "RUN", "FILE", "--operator", "mask:left", "--noise", "1", "--draws", "1", "--steps", "1", "--out", "OUT"),
], ids=lambda words: words[0])  # fmt: skip
def test_the_model_settles_the_axes(words, lay, tiny_run, tmp_path, capsys):
    x = lay(np.random.default_rng(0).integers(0, 17, (2, 1, 8, 8)))
    np.save(tmp_path / "x.npy", x)
    places = {"RUN": tiny_run, "FILE": tmp_path / "x.npy", "OUT": tmp_path / "o.png"}
    code, out, err = undrift(*(places.get(w, w) for w in words), capsys=capsys)
    assert (code, err) == (0, ""), err
    if words[0] == "likelihood":
        assert f"all {x.size // 64}" in out


def test_another_shape_is_refused(tiny_run, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 9), int))
    refused(("likelihood", tiny_run, tmp_path / "x.npy", *QUICK), "the data are (1, 8, 8)", tmp_path, capsys)
