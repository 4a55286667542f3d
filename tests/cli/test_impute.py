"""`undrift impute` and `Model.impute` as a user meets them."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import undrift as ud
from undrift.cli import main
from undrift.data import Spec
from undrift.data.files import read_examples, read_mask
from undrift.imputation.masks import named_mask

FAST = ("--steps", 2, "--draws", 3)


@pytest.fixture
def impute(capsys):
    def run(*words):
        """Exit code, output, error of `undrift impute ...`."""
        try:
            code = main(["impute", *map(str, words)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def digit(tiny_run, tmp_path):
    """A digit of 0..16 as a picture of 0..255, and as numbers."""
    x = (torch.arange(64).view(1, 8, 8) % 17).to(torch.uint8)
    Image.fromarray((x[0].double() * 255 / 16).round().byte().numpy()).save(tmp_path / "digit.png")
    np.save(tmp_path / "digit.npy", x.numpy())
    return x


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A run with a tiny model of points in the plane, unbounded floats, no pictures."""
    run = tmp_path_factory.mktemp("toy") / "toy"
    words = ("train", "toy", "steps=5", "data.n=200", "network.width=16", "sample_every=0", "device=cpu", "--out", str(run))
    assert main(words) == 0
    return run


@pytest.mark.parametrize("method", ["repaint", "replace", "langevin"])
def test_known_pixels_come_back_in_data_units(tiny_run, tmp_path, digit, impute, method):
    out = tmp_path / "o.png", tmp_path / "o.npz"
    code, said, err = impute(
        tiny_run, tmp_path / "digit.png", "--mask", "left", "--method", method, *FAST, "--out", out[0], "--npz", out[1]
    )
    assert (code, err) == (0, "")
    assert "1 x 3 draws with " + method in said and "32 of 64 values are known" in said
    arrays = np.load(out[1], allow_pickle=False)
    assert arrays["x"].shape == (3, 1, 1, 8, 8) and arrays["x"].dtype == np.uint8
    assert (arrays["x"][:, 0, 0, :, 4:] == digit[0, :, 4:].numpy()).all()
    assert (arrays["x"][0, 0, 0, :, :4] != arrays["x"][1, 0, 0, :, :4]).any()
    assert not arrays["mask"][0, 0, :, :4].any() and arrays["mask"][0, 0, :, 4:].all()


def test_the_picture_shows_hole_draws_mean_and_spread():
    spec = Spec.bounded((1, 2, 2), 0, 255, integer=True)
    x, mask = torch.full((1, 1, 2, 2), 100, dtype=torch.uint8), torch.tensor([[[[True, False], [True, True]]]])
    draws = x.expand(2, 1, 1, 2, 2).clone()
    draws[:, 0, 0, 0, 1] = torch.tensor([0, 200], dtype=torch.uint8)
    from undrift.plot.picture import imputed

    sheet = np.asarray(imputed(x, mask, draws, spec))
    zoom = sheet.shape[0] // 4
    tiles = [sheet[zoom : 3 * zoom : zoom, (1 + 3 * i) * zoom : (3 + 3 * i) * zoom : zoom] for i in range(5)]
    assert tiles[0][0, 1].tolist() == [60, 90, 160] and tiles[0][1, 1].tolist() == [100] * 3  # the hole, in blue
    assert [int(t[0, 1, 0]) for t in tiles[1:4]] == [0, 200, 100]  # two draws and their mean
    assert tiles[4][..., 0].tolist() == [[0, 255], [0, 0]]  # the spread


def test_masks_from_files_and_names_agree(tiny_run, tmp_path, digit, impute):
    """White is known in a picture, not 0 in an array; a name says where the hole is; --invert turns each around."""
    known = np.zeros((8, 8), bool)
    known[:, 4:] = True
    Image.fromarray(known).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", known)
    found = []
    for mask in ("left", tmp_path / "m.png", tmp_path / "m.npy"):
        assert impute(tiny_run, tmp_path / "digit.npy", "--mask", mask, *FAST, "--npz", tmp_path / "a.npz")[0] == 0
        found.append(np.load(tmp_path / "a.npz")["x"])
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
    impute(tiny_run, tmp_path / "digit.npy", "--mask", tmp_path / "m.png", "--invert", *FAST, "--npz", tmp_path / "a.npz")
    impute(tiny_run, tmp_path / "digit.npy", "--mask", "right", *FAST, "--npz", tmp_path / "b.npz")
    assert (np.load(tmp_path / "a.npz")["x"] == np.load(tmp_path / "b.npz")["x"]).all()


def test_nan_is_missing(tiny_run, vectors, tmp_path, digit, impute):
    x = digit.double().numpy()
    x[0, 2:5] = np.nan
    np.save(tmp_path / "nan.npy", x)
    assert impute(tiny_run, tmp_path / "nan.npy", *FAST, "--npz", tmp_path / "a.npz")[0] == 0
    filled = np.load(tmp_path / "a.npz")["x"]
    assert filled.dtype == np.uint8 and (filled[:, 0][~np.isnan(x)[None].repeat(3, 0)] == np.tile(x[~np.isnan(x)], 3)).all()
    points = np.array([[0.123456789, np.nan], [np.nan, -1.5], [0.1, 0.2]], np.float32)
    np.savez(tmp_path / "points.npz", x=points)
    code, said, err = impute(vectors, tmp_path / "points.npz", *FAST, "--npz", tmp_path / "b.npz")
    assert (code, err) == (0, "") and "3 x 3 draws" in said
    filled = np.load(tmp_path / "b.npz")["x"]
    assert np.isfinite(filled).all() and filled.shape == (3, 3, 2)
    assert (filled[:, ~np.isnan(points)] == points[~np.isnan(points)]).all()


def test_everything_and_nothing_known(tiny_run, tmp_path, digit, impute):
    np.save(tmp_path / "all.npy", np.ones((8, 8), np.uint8))
    np.save(tmp_path / "none.npy", np.zeros((8, 8), np.uint8))
    code, said, _ = impute(tiny_run, tmp_path / "digit.npy", "--mask", tmp_path / "all.npy", *FAST, "--npz", tmp_path / "a.npz")
    assert code == 0 and "every value is known" in said
    assert (np.load(tmp_path / "a.npz")["x"] == digit.numpy()).all()
    words = ("--mask", tmp_path / "none.npy", "--method", "replace", "--sampler", "dpm2m", "--steps", 4, "--seed", 3)
    code, said, _ = impute(tiny_run, tmp_path / "digit.npy", *words, "--npz", tmp_path / "a.npz")
    assert code == 0 and "no value is known" in said
    plain = ud.load(tiny_run).sample(1, sampler="dpm2m", steps=4, seed=3)
    assert (np.load(tmp_path / "a.npz")["x"][0] == plain.numpy()).all()


def test_classes_held_out_data_and_the_same_seed(tiny_run, tmp_path, impute):
    words = (tiny_run, "held-out", "-n", 2, "--mask", "random:0.5", "--class", "3,5", "--scale", 2, *FAST)
    for name in ("a", "b"):
        code, said, err = impute(*words, "--out", tmp_path / f"{name}.png")
        assert (code, err) == (0, "") and "2 x 3 draws with repaint, 2 steps (11 evaluations)" in said
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    model = ud.load(tiny_run)
    x, mask = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), named_mask("random:0.5", (1, 8, 8))
    both = model.impute(x, mask, 2, [3, 5], scale=2.0, steps=2)
    alone = model.impute(x[1:], mask, 2, 5, scale=2.0, steps=2, first=1)
    assert (alone.int() - both[:, 1:].int()).abs().max() <= 1  # networks round differently in other batches, then we round
    assert not torch.equal(model.impute(x, mask, 2, 5, scale=2.0, steps=2)[:, 0], both[:, 0])


def test_pictures_of_other_kinds(tmp_path):
    colour = Spec.bounded((3, 2, 4), -1, 1, integer=False)
    Image.new("L", (4, 2), 255).save(tmp_path / "grey.png")
    assert read_examples(tmp_path / "grey.png", colour).tolist() == torch.ones(1, 3, 2, 4).tolist()
    grey = Spec.bounded((1, 2, 4), 0, 16, integer=True)
    Image.new("RGB", (4, 2), (128, 128, 128)).save(tmp_path / "rgb.png")  # grey all the same
    assert read_examples(tmp_path / "rgb.png", grey).unique().tolist() == [8]
    last = np.random.default_rng(0).integers(0, 255, (5, 2, 4, 3))
    np.save(tmp_path / "last.npy", last)
    assert (read_examples(tmp_path / "last.npy", colour).numpy() == last.transpose(0, 3, 1, 2)).all()
    for shape in ((2, 4), (1, 2, 4), (5, 2, 4), (5, 1, 2, 4)):
        np.save(tmp_path / "s.npy", np.ones(shape, bool))
        assert read_mask(tmp_path / "s.npy", grey).shape == ((5, 1, 2, 4) if shape[0] == 5 else (1, 2, 4))


def damaged(folder):
    """Inputs and masks that are wrong, each in its own way."""
    np.save(folder / "ok.npy", np.zeros((1, 8, 8), np.uint8))
    np.save(folder / "nan.npy", np.full((1, 8, 8), np.nan))
    np.save(folder / "small.npy", np.zeros((1, 5, 5), np.uint8))
    np.save(folder / "high.npy", np.full((1, 8, 8), 99))
    np.save(folder / "half.npy", np.full((1, 8, 8), 0.5))
    np.save(folder / "many.npy", np.ones((2, 1, 8, 8), bool))
    np.save(folder / "words.npy", np.full((1, 8, 8), "a"))
    Image.new("L", (9, 8)).save(folder / "wide.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "red.png")
    Image.linear_gradient("L").resize((8, 8)).save(folder / "smooth.png")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    (folder / "text.txt").write_text("hello")


MISTAKES = {
    ("gone.png", "--mask", "left"): "gone.png: no such file",
    ("gone.npy", "--mask", "left"): "gone.npy: no such file",
    ("torn.png", "--mask", "left"): "torn.png: is not a picture of a known format",
    ("text.txt", "--mask", "left"): "text.txt: is not a picture of a known format",
    ("wide.png", "--mask", "left"): "wide.png: is 9 x 8 pixels, but the data are 8 x 8",
    ("red.png", "--mask", "left"): "a colour picture, but the model knows grey ones",
    ("small.npy", "--mask", "left"): "the array has shape (1, 5, 5), but the data are (1, 8, 8)",
    ("words.npy", "--mask", "left"): "save numbers",
    ("high.npy", "--mask", "left"): "outside 0..16",
    ("half.npy", "--mask", "left"): "not whole numbers",
    ("nan.npy", "--mask", "left"): "the mask calls 32 values known that are NaN",
    ("ok.npy",): "nothing is missing: say what with --mask",
    ("ok.npy", "--invert"): "--invert turns a mask around",
    ("ok.npy", "--mask", "wide.png"): "wide.png: is 9 x 8 pixels",
    ("ok.npy", "--mask", "gone.png"): "gone.png: no such file",
    ("ok.npy", "--mask", "smooth.png"): "a mask has two values",
    ("ok.npy", "--mask", "many.npy", "-n", "1"): None,
    ("ok.npy", "--mask", "small.npy"): "the array has shape (1, 5, 5)",
    ("ok.npy", "--mask", "lefft"): 'mask "lefft" is neither a file nor a name — did you mean "left"?',
    ("ok.npy", "--mask="): '"" names nothing',
    ("ok.npy", "--mask", "random:2"): "write random:0.5",
    ("ok.npy", "--mask", "left", "--class", "12"): 'class "12" is unknown — known: 0, 1, 2',
    ("ok.npy", "--mask", "left", "--scale", "2"): "needs a class",
    ("ok.npy", "--mask", "left", "--method", "repant"): 'method "repant" is unknown — did you mean "repaint"?',
    ("ok.npy", "--mask", "left", "--sampler", "dpm"): 'sampler "dpm" is unknown',
    ("ok.npy", "--mask", "left", "--class", "7", "--scale", "nan"): "must be a finite number",
    ("ok.npy", "--mask", "left", "--seed", "-1"): "must not be negative",
    ("ok.npy", "--mask", "left", "--draws", "0"): "--draws 0: ask for at least one",
    ("ok.npy", "--mask", "left", "--steps", "0"): "whole number of at least 1",
    ("ok.npy", "--mask", "left", "-n", "0"): "-n 0",
    ("ok.npy", "--mask", "left", "--out", "o.psd"): "cannot be written as .psd",
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_mistakes_are_one_line_and_leave_nothing(tiny_run, tmp_path, impute, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    damaged(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    out = () if "--out" in words else ("--out", "o.png")
    code, said, err = impute(tiny_run, words[0], *FAST, *words[1:], *out)
    if MISTAKES[words] is None:
        assert code == 0
        return
    assert (code, said, err.count("\n")) == (2, "", 1) and err.startswith("undrift: ")
    assert MISTAKES[words] in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_vectors_are_not_drawn_and_too_few_masks(vectors, tiny_run, tmp_path, impute):
    np.save(tmp_path / "x.npy", np.zeros((1, 2), np.float32))
    code, _, err = impute(vectors, tmp_path / "x.npy", "--mask", "left")
    assert code == 2 and "ask for the numbers with --npz" in err
    Image.new("1", (2, 1)).save(tmp_path / "m.png")
    for words in ((tmp_path / "m.png", "--mask", "left"), (tmp_path / "x.npy", "--mask", tmp_path / "m.png")):
        code, _, err = impute(vectors, *words, "--npz", tmp_path / "o.npz")
        assert code == 2 and "no pictures" in err
    np.save(tmp_path / "three.npy", np.zeros((3, 8, 8), np.uint8))
    np.save(tmp_path / "two.npy", np.ones((2, 1, 8, 8), bool))
    code, _, err = impute(tiny_run, tmp_path / "three.npy", "--mask", tmp_path / "two.npy", "--npz", tmp_path / "o.npz")
    assert code == 2 and "2 masks for 3 inputs" in err


def test_model_impute_says_what_does_not_fit(tiny_run):
    model, x = ud.load(tiny_run), torch.zeros(2, 1, 8, 8)
    for mask in (torch.ones(8, 8, dtype=torch.bool), torch.ones(1, 8, 8)):
        with pytest.raises(ud.UndriftError, match="one of bools"):
            model.impute(x, mask)
    with pytest.raises(ud.UndriftError, match="wants data of shape"):
        model.impute(x[:, 0], torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(ud.UndriftError, match="NaN or infinite"):
        model.impute(x / 0, torch.ones(1, 8, 8, dtype=torch.bool))


def test_a_run_copied_elsewhere_still_imputes(tiny_run, tmp_path, digit, impute):
    """The default picture goes into the run's own folder."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert impute(run, tmp_path / "digit.png", "--mask", "centre", *FAST)[0] == 0
    picture = Image.open(run / "samples" / "imputed.png")
    assert picture.size[0] / picture.size[1] == pytest.approx((6 * 9 + 1) / 10)  # hole, three draws, mean, spread


@pytest.mark.parametrize(("words", "count"), [(("--class", "1,2,3"), 3), (("--class", "1,2"), 2)])
def test_classes_that_no_input_is_for(tiny_run, digit, tmp_path, impute, words, count):
    """None is left out in silence: one for all, or one for each input."""
    code, _, error = impute(tiny_run, tmp_path / "digit.png", "--mask", "left", *words, *FAST)
    assert code == 2
    assert error == f"undrift: --class names {count} classes for 1 input; give one for all, or one each\n"


def test_fewer_classes_than_inputs(tiny_run, tmp_path, impute):
    """Classes in turn are for samples that are drawn; inputs have each their own."""
    np.save(tmp_path / "three.npy", np.zeros((3, 1, 8, 8), np.uint8))
    code, _, error = impute(tiny_run, tmp_path / "three.npy", "--mask", "left", "--class", "1,2", *FAST)
    assert code == 2
    assert "--class names 2 classes for 3 inputs" in error


def test_whole_numbers_in_a_file_that_int64_does_not_hold(tiny_run, tmp_path, impute):
    """They would wrap to negative ones."""
    np.save(tmp_path / "large.npy", np.full((1, 8, 8), 2**63 + 1, np.uint64))
    code, _, error = impute(tiny_run, tmp_path / "large.npy", "--mask", "left", *FAST)
    assert code == 2
    assert "whole numbers above 2^63 - 1, such as 9223372036854775809" in error
