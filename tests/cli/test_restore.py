"""`undrift restore` and `Model.restore`: what they write, and one line and exit code 2 for every mistake."""

import numpy as np
import pytest
import torch
from PIL import Image

import undrift as ud
from conftest import undrift
from undrift.evaluation.restore import Restored, sheet
from undrift.recipe.operators import EXAMPLES, HIDDEN, named_operator
from undrift.run import Run


@pytest.fixture
def clean(tmp_path):
    """Three digits in data units (0..16)."""
    x = torch.arange(64).view(8, 8) % 17
    path = tmp_path / "clean.npy"
    np.save(path, torch.stack([x, x.flip(0), x.flip(1)]).numpy().astype("uint8"))
    return path


@pytest.mark.parametrize("operator", ["blur:1", "downsample:2", "mask:left", "project:0.2"])
def test_simulated(tiny_run, clean, tmp_path, capsys, operator):
    out, npz = tmp_path / "o.png", tmp_path / "o.npz"
    words = ("restore", tiny_run, clean, "--simulate", "--operator", operator, "--noise", "5%", "-n", 2, "--draws", 3)
    code, said, err = undrift(*words, "--steps", 4, "--out", out, "--npz", npz, capsys=capsys)
    assert (code, err) == (0, "")
    assert "2 measurements, 3 draws each with mmps" in said and "truth, y, mean, spread, draws" in said
    width, height = Image.open(out).size
    assert width / height == pytest.approx(7 / 2, abs=0.2)  # truth, y, mean, spread, three draws; two rows
    found = np.load(npz)
    assert found["draws"].shape == (2, 3, 1, 8, 8) and found["draws"].dtype == np.uint8
    np.testing.assert_allclose(found["mean"], found["draws"].mean(1))
    made = named_operator(operator, (1, 8, 8))(torch.from_numpy(found["truth"]))
    rest = (found["y"] - made.numpy()) / 0.8
    assert 0.6 < rest.std() < 1.5  # the noise that was asked for: 5 % of 16


def test_held_out_data_are_measured_and_restored(tiny_run, tmp_path, capsys):
    words = (
        "restore",
        tiny_run,
        "held-out",
        "--simulate",
        "--operator",
        "blur:1",
        "--noise",
        "5%",
        "-n",
        3,
        "--draws",
        1,
        "--steps",
        2,
    )
    assert undrift(*words, "--out", tmp_path / "o.png", "--npz", tmp_path / "o.npz", capsys=capsys)[0] == 0
    held_out = Run(tiny_run).data()[1].raw(torch.arange(3))
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["truth"], held_out.numpy())


def test_measured_is_what_simulated_gives(tiny_run, clean, tmp_path, capsys):
    base = ("restore", tiny_run, "--operator", "downsample:2", "--noise", "0.5", "--steps", "3", "--draws", "2")
    undrift(*base, clean, "--simulate", "--npz", tmp_path / "a.npz", "--out", tmp_path / "a.png", capsys=capsys)
    first = np.load(tmp_path / "a.npz")
    np.save(tmp_path / "y.npy", first["y"])
    code, said, _ = undrift(*base, tmp_path / "y.npy", "--npz", tmp_path / "b.npz", "--out", tmp_path / "b.png", capsys=capsys)
    assert code == 0 and "truth" not in said
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["draws"], first["draws"])


def test_particles_classes_and_pictures(tiny_run, tmp_path, capsys):
    Image.fromarray(np.full((8, 8), 7, "uint8")).save(tmp_path / "y.png")
    base = ("restore", tiny_run, tmp_path / "y.png", "--operator", "mask:top", "--noise", "1", "--steps", "3")
    code, said, err = undrift(
        *base, "--particles", 4, "--class", 3, "--method", "dps", "--out", tmp_path / "o.png", capsys=capsys
    )
    assert (code, err) == (0, "") and "1 measurement, 4 draws each with dps, 4 particles" in said


def test_a_picture_is_one_sample_or_one_measurement(tiny_run, tmp_path, capsys):
    """Clean data are read as `impute` reads them, 0..255 spread over the range; a measured picture is in the units of y."""
    grey = np.arange(64, dtype="uint8").reshape(8, 8) * 4
    Image.fromarray(grey).convert("LA").save(tmp_path / "x.png")
    words = ("restore", tiny_run, tmp_path / "x.png", "--noise", "5", "--steps", 2, "--draws", 1, "--class", "none")
    words = (*words, "--npz", tmp_path / "o.npz", "--out", tmp_path / "o.png", "--operator")
    code, said, err = undrift(*words, "blur:1", "--simulate", capsys=capsys)
    assert (code, err) == (0, "") and "1 measurement," in said
    assert (np.load(tmp_path / "o.npz")["truth"] == (grey / 255 * 16).round()).all()
    code, said, err = undrift(*words, "blur:1", capsys=capsys)
    assert (code, err) == (0, "") and "1 measurement," in said
    assert (np.load(tmp_path / "o.npz")["y"] == grey).all()


def test_the_model_restores_in_data_units(tiny_run):
    """Half of a constant picture given with little noise: the draws say the same, in 0..16; a non-linear operator too."""
    model = ud.load(tiny_run)
    y = torch.full((2, 64), 16.0)
    whole = named_operator("mask:half", (1, 8, 8))
    draws = model.restore(y[:, :32], whole, 0.5, draws=2, steps=60)
    assert draws.dtype == torch.uint8 and draws.shape == (2, 2, 1, 8, 8)
    assert (whole(draws.flatten(0, 1).float()) - 16).abs().mean() < 1.5
    curved = ud.inverse.Operator(lambda x: x.flatten(1) ** 2 / 16, (1, 8, 8), linear=False)
    draws = model.restore(y, curved, 0.5, draws=1, steps=60)
    assert (draws.float() - 16).abs().mean() < 1.5


def test_columns_of_data_of_different_scale():
    """Measured in data units, whose columns the spec scales by 1 and 100: the noise is the measurement's, not the model's."""
    law = ud.GaussianMixture([[0.0, 0.0]], 1.0, process=ud.VP())
    law.register_parameter("dtype", torch.nn.Parameter(torch.zeros((), dtype=torch.float64), False))
    spec = ud.data.spec.Spec((2,), None, None, False, (5.0, -200.0), (1.0, 100.0))
    model = ud.Model(law, spec, {})
    draws = model.restore(torch.tensor([-100.0]), ud.inverse.matrix(torch.tensor([[0.0, 1.0]])), 50.0, draws=2000)[0]
    # Kalman: prior N(-200, 100^2), noise 50: mean -200 + 0.8 * 100, standard deviation 100 * sqrt(0.2).
    assert draws[:, 1].mean() == pytest.approx(-120, abs=5)
    assert draws[:, 1].std() == pytest.approx(44.7, abs=3)
    assert draws[:, 0].mean() == pytest.approx(5, abs=0.12)


def test_the_sheet_shows_what_was_measured(tiny_run):
    model = ud.load(tiny_run)
    operator = named_operator("downsample:4", (1, 8, 8))
    y = torch.tensor([[[[0.0, 16.0], [8.0, 4.0]]]])
    picture = np.asarray(sheet(Restored(operator, y, torch.zeros(1, 1, 1, 8, 8), None), model))
    zoom = picture.shape[0] // 10
    tile = picture[zoom : 9 * zoom : zoom, zoom : 9 * zoom : zoom, 0].astype(int)
    np.testing.assert_allclose(tile[::4, ::4], y[0, 0].numpy() * 255 / 16, atol=9)


def test_every_name_of_an_operator():
    for text in EXAMPLES:
        if "FILE" not in text:
            named_operator(text, (3, 8, 8))
    seen = {what: named_operator(f"mask:{what}", (1, 8, 8))(torch.arange(64.0).view(1, 1, 8, 8))[0] for what in HIDDEN}
    assert len(seen["centre"]) == 48 and 27 not in seen["centre"] and 0 in seen["centre"]
    assert seen["top"].tolist() == list(range(32, 64)) and seen["bottom"].tolist() == list(range(32))
    assert 0 not in seen["left"] and 7 in seen["left"] and 0 in seen["right"] and 7 not in seen["right"]
    assert len(seen["half"]) == 32


@pytest.mark.parametrize(
    "change, words",
    [
        ({"--operator": "blurr:2"}, 'operator "blurr" is unknown — did you mean "blur"?'),
        ({"--operator": "blur"}, "write it like blur:2"),
        ({"--operator": "blur:wide"}, '"wide" is not a number'),
        ({"--operator": "blur:-1"}, "positive standard deviation"),
        ({"--operator": "downsample:3"}, "downsample:3 does not divide the size 8"),
        ({"--operator": "downsample:1.5"}, '"1.5" is not a number that it takes'),
        ({"--operator": "greyscale"}, "at least two channels"),
        ({"--operator": "mask:center"}, 'did you mean "centre"?'),
        ({"--operator": "matrix:none.npy"}, "none.npy: No such file"),
        ({"--method": "mpms"}, 'method "mpms" is unknown — did you mean "mmps"?'),
        ({"--sampler": "heum"}, 'did you mean "heun"?'),
        ({"--noise": "-1"}, "must be positive"),
        ({"--noise": "0"}, "must be positive"),
        ({"--noise": "loud"}, '"loud" is not a number'),
        ({"--draws": "0"}, "at least one draw"),
        ({"-n": "0"}, "at least one measurement"),
        ({"--class": "11"}, 'class "11" is unknown — known: 0, 1, 2'),
        ({"input": "held-out"}, "held-out is clean data, not a measurement; add --simulate"),
        ({"input": "gone.npy"}, "gone.npy: no such file"),
        ({"input": "nan.npy"}, "1 values are NaN"),
        ({"input": "wide.npy"}, "has shape (9, 9)"),
        ({"input": "text.npy"}, "is neither .npy nor .npz"),
        ({"input": "big.npy"}, "64 of 64 values of `y` are too large for these data, such as 1e+300"),
        ({"input": "torn.png"}, "is not a picture of a known format"),
        ({"input": "deep.tif"}, "has 32 bits a pixel (mode F)"),
        ({"input": "red.png"}, "has shape (1, 3, 8, 8), but what blur measures has (1, 8, 8)"),
        ({"--operator": "matrix:empty.npy"}, "measures nothing"),
        ({"--class": "1,x"}, 'class "x" is unknown'),
        ({"--seed": "-1", "--particles": "2"}, "must not be negative"),
        ({"--out": "."}, "is a folder"),
    ],
)
def test_mistakes_are_one_line(tiny_run, tmp_path, capsys, monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", np.zeros((8, 8), "float32"))
    np.save("wide.npy", np.zeros((9, 9), "float32"))
    np.save("nan.npy", np.where(np.arange(64).reshape(8, 8) == 5, np.nan, 0.0))
    np.save("big.npy", np.full((8, 8), 1e300))
    np.save("empty.npy", np.zeros((0, 64)))
    Image.new("F", (8, 8)).save("deep.tif")
    Image.new("RGB", (8, 8), (255, 0, 0)).save("red.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    (tmp_path / "text.npy").write_text("hello")
    given = {"input": "y.npy", "--operator": "blur:1", "--noise": "0.5", "--steps": "2", "--out": "o.png", **change}
    line = [given.pop("input")]
    before = set(tmp_path.iterdir())
    code, _, err = undrift(
        "restore", tiny_run, *line, *(f"{k}={v}" if k[1] == "-" else k + v for k, v in given.items()), capsys=capsys
    )
    assert code == 2
    assert words in err and err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before
