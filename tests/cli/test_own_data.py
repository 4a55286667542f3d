"""Your own data from the command line: folders of pictures, volumes, sequences; and everything that runs on such runs."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import undrift as ud
from conftest import write_pictures
from undrift.cli import main
from undrift.recipe.read import load_recipe
from undrift.training.session import prepare

SMALL = [
    "network.kind=unet", "network.widths=[8,8]", "network.blocks=1", "network.embedding=16", "batch_size=8", "sample_every=0",
    "device=cpu", "sampling.steps=2",
]  # fmt: skip
PICTURES = 260  # a fifth of them, 52, is enough to judge by


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of class folders."""
    return write_pictures(tmp_path_factory.mktemp("photos"), [f"{'cd'[i % 2]}/{i:03d}.png" for i in range(PICTURES)], (12, 10))


@pytest.fixture(scope="session")
def photo_run(photos, tmp_path_factory):
    """A run on that folder: odd, non-square pictures."""
    out = tmp_path_factory.mktemp("runs") / "photos"
    words = ["train", "images", "--data-dir", str(photos), "--out", str(out), "data.size=[9,11]", "data.flip=true", "steps=2"]
    assert main([*words, *SMALL]) == 0
    return out


def said(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_evaluate(photo_run, tmp_path, capsys):
    text = said(capsys, "evaluate", photo_run, "-n", 24, "--out", tmp_path)
    assert "recognised as the class asked for" in text
    assert "52 held-out real examples" in text


def test_likelihood(photo_run, capsys):
    text = said(capsys, "likelihood", photo_run, "-n", 3, "--steps", 2, "--no-bound")
    assert "a random 3 of 52" in text and "a random 3 of 208" in text


def test_frontier(photo_run, capsys):
    words = ("--evaluations", 3, "--samplers", "euler", "--grids", "straight", "--no-save")
    assert "metric: kernel distance (KID) x 1000 to training data in" in said(capsys, "frontier", photo_run, "-n", 50, *words)


def test_impute(photo_run, capsys):
    text = said(capsys, "impute", photo_run, "held-out", "--mask", "left", "--draws", 2, "--steps", 2, "-n", 2)
    assert "2 x 2 draws" in text


def test_sample_and_info(photo_run, capsys, tmp_path):
    said(capsys, "sample", photo_run, "-n", 4, "--out", tmp_path / "grid.png", "--npz", tmp_path / "x.npz")
    assert np.load(tmp_path / "x.npz")["x"].shape == (4, 3, 9, 11)
    assert "shape (3, 9, 11), values 0 to 255" in said(capsys, "info", photo_run)


def test_evaluate_without_classes(photos, tmp_path, capsys):
    words = ["train", "images", "--data-dir", str(photos / "c"), "--out", str(tmp_path / "run"), "data.size=9", "steps=1"]
    assert main([*words, *SMALL]) == 0
    text = said(capsys, "evaluate", tmp_path / "run", "-n", 24)
    assert "recognised as the class asked for: not measured: the data have no classes" in text
    assert "nearest" in text


def test_data_that_changed(photo_run, photos, tmp_path, capsys):
    copy = write_pictures(tmp_path / photos.name, [f"{'cd'[i % 2]}/{i:03d}.png" for i in range(PICTURES)], (12, 10))
    few = ["-n", "50", "--evaluations", "2", "--samplers", "euler", "--grids", "straight", "--no-save"]
    words = ["frontier", str(photo_run), "--data-dir", str(copy), *few]
    assert main(words) == 0  # a copy is as good
    write_pictures(copy, ["c/000.png"], (12, 10), seed=9)
    assert main(words) == 2
    assert "is not what the model was trained on" in capsys.readouterr().err


def test_bad_files(tmp_path, capsys):
    folder = write_pictures(tmp_path / "mine", [f"{i}.png" for i in range(6)])
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:70])
    (folder / "zero.jpg").touch()
    words = ["train", "images", "--data-dir", str(folder), "--out", str(tmp_path / "run"), "data.size=8", "steps=1", *SMALL]
    assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding")]
    assert lines[0] == f"undrift: 2 things are wrong with {folder}; mend them, or go on without with --skip-bad:"
    assert len(lines) == 3 and lines[1].startswith("  3.png: is") and lines[2] == "  zero.jpg: is empty (0 bytes)"
    assert not (tmp_path / "run").exists()
    assert main([*words, "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert "going on with 5 of 7 pictures" in err
    assert "4 examples" in out
    words = ["likelihood", str(tmp_path / "run"), "-n", "1", "--steps", "1", "--no-bound"]
    assert main(words) == 0  # the run remembers
    assert main(["train", "toy", "--skip-bad", "--out", str(tmp_path / "toy")]) == 2
    assert 'toy: option "skip_bad" is unknown' in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(40, 2, 16), (40, 1, 8, 9, 8), (40, 8, 10, 4), (40, 9, 8, 1)])
def test_arrays_of_any_kind(shape, tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32 if len(shape) == 3 else np.uint8)
    np.save(tmp_path / "x.npy", x)
    words = ["train", "array", "--data-dir", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run"), "steps=1"]
    assert main([*words, *SMALL]) == 0
    said(capsys, "sample", tmp_path / "run", "-n", 4, "--strip", tmp_path / "strip.png", "--out", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid, Image.open(tmp_path / "strip.png") as strip:
        assert min(*grid.size, *strip.size) > 8
    assert "train" in said(capsys, "likelihood", tmp_path / "run", "-n", 2, "--steps", 2, "--no-bound")


def test_data_that_are_all_the_same_teach_nothing(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.full((40, 1, 8, 8), 7, np.uint8))
    assert main(["train", "array", "--data-dir", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run"), "steps=1", *SMALL]) == 2
    assert "all values are the same" in capsys.readouterr().err and not (tmp_path / "run" / "model.json").exists()


def test_random_views_and_a_restart_bit_for_bit(photos, tmp_path):
    """Killed after three steps and taken up again: the pictures of step k are mirrored and cut as if nothing had happened."""
    overrides = {
        "data_dir": str(photos), "data.size": 8, "data.flip": "both", "data.random_crop": 3, "steps": 6, "batch_size": 8,
        "network": {"kind": "unet", "widths": [8], "blocks": 1, "embedding": 16}, "device": "cpu",
    }  # fmt: skip

    def go(name, stops):
        for stop in stops:
            trainer, *_ = prepare(load_recipe("images", overrides), tmp_path / name)
            for report in trainer.run():
                if report.step == stop:
                    break
            trainer.save()
            trainer.lock.close()
        return load_file(tmp_path / name / "model.safetensors")

    whole, parts = go("whole", [6]), go("parts", [1, 3, 6])
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_larger_cache_or_another_place_is_the_same_run(photo_run, photos, tmp_path, capsys):
    words = ["train", "images", "--data-dir", str(photos), "--out", str(photo_run), f"data.cache={tmp_path}", "data.workers=1"]
    assert main(words) == 0
    assert "data.cache is now" in capsys.readouterr().out
    assert main([*words[:-2], "data.flip=false"]) == 2


def test_in_python(photo_run):
    model = ud.load(photo_run)
    assert model.sample(2, cond="c", seed=0).shape == (2, 3, 9, 11)
