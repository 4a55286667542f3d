"""Where commands read and write: devices, pipes and links that a user names, and odd things where a run has its own files."""

import json
import os
import shutil
import stat
import threading

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from conftest import refused, undrift

QUICK = ("--steps", "1", "-n", "2")


@pytest.mark.parametrize("words", [
    ("sample", "RUN", *QUICK, "--out", "PLACE"),
    ("sample", "RUN", *QUICK, "--npz", "PLACE"),
    ("sample", "RUN", *QUICK, "--npy", "PLACE"),
    ("sample", "RUN", *QUICK, "--strip", "PLACE"),
    ("sample", "RUN", *QUICK, "--gif", "PLACE"),
    ("status", "RUN", "--out", "PLACE"),
    ("likelihood", "RUN", *QUICK, "--no-bound", "--out", "PLACE"),
    ("impute", "RUN", "held-out", "-n", "1", "--draws", "1", "--steps", "1", "--mask", "left", "--out", "PLACE", "--npz", "PLACE"),
    ("restore", "RUN", "held-out", "-n", "1", "--draws", "1", "--steps", "1", "--noise", "1", "--operator", "blur:1", "--simulate",
     "--out", "PLACE", "--npz", "PLACE"),
], ids=lambda words: " ".join(w for w in words if w.isalpha() or w[:2] == "--"))  # fmt: skip
def test_a_device_is_written_through_and_stays_a_device(words, tiny_run, tmp_path, capsys):
    code, _, err = undrift(*(w.replace("RUN", str(tiny_run)).replace("PLACE", "/dev/null") for w in words), capsys=capsys)
    assert (code, err) == (0, "") or (code == 2 and "--npy" in words and "/dev/null" in err and err.count("\n") == 1)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and not os.path.islink("/dev/null")
    through = tmp_path / "link"
    through.symlink_to(tmp_path / "target")
    undrift(*(w.replace("RUN", str(tiny_run)).replace("PLACE", str(through)) for w in words), capsys=capsys)
    assert through.is_symlink()


def test_a_pipe_gets_what_a_file_would(tiny_run, tmp_path, capsys):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert undrift("sample", tiny_run, *QUICK, "--npz", pipe, capsys=capsys)[0] == 0
    reader.join(10)
    assert got[0][:2] == b"PK" and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_full_device_is_one_line(tiny_run, tmp_path, capsys):
    refused(("sample", tiny_run, *QUICK, "--npz", "/dev/full"), "No space left on device", tmp_path, capsys)


def odd(place, kind, precious):
    """Something else than a file in the place of a run's own file."""
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to({"link": precious, "zero": "/dev/zero", "circle": place.name}[kind])


@pytest.mark.parametrize("kind", ["link", "pipe", "zero", "folder", "circle"])
@pytest.mark.parametrize("name", [".lock", "log.jsonl", "config.yaml", "model.json", "model.safetensors"])
def test_a_run_s_own_files_are_files(name, kind, copied_run, tmp_path, capsys):
    """What stands there instead is neither followed nor waited for, and nothing behind it is changed."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    odd(copied_run / name, kind, precious)
    code, _, err = undrift("train", "digits", "--out", copied_run, "steps=26", capsys=capsys)
    replaced = name in ("model.json", "model.safetensors") and kind in ("link", "zero", "circle")  # written anew, from the state
    assert code == (0 if replaced else 2) and err.count("\n") == (0 if replaced else 1)
    assert precious.read_text() == "precious"
    if name in ("log.jsonl", "config.yaml"):
        code, _, err = undrift("status", copied_run, capsys=capsys)
        assert code == 2 and err.count("\n") == 1
    if name.startswith("model") and not replaced:
        code, _, err = undrift("sample", copied_run, *QUICK, capsys=capsys)
        assert code == 2 and err.count("\n") == 1 and str(copied_run) in err


@pytest.mark.parametrize("harm", ["gone", "cut", "empty", "not json"])
def test_a_run_resumes_without_its_model_json(harm, copied_run, tiny_run, tmp_path, capsys):
    """The states say what the model is; and the run still knows on which data it was trained."""
    place = copied_run / "model.json"
    content = place.read_text()
    place.unlink()
    if harm != "gone":
        place.write_text({"cut": content[:200], "empty": "", "not json": "[]"}[harm])
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((4, 8, 8), np.uint8))
    code, _, err = undrift("train", "digits", "--out", copied_run, "steps=30", capsys=capsys)
    assert (code, err) == (0, ""), err
    whole = shutil.copytree(tiny_run, tmp_path / "whole")
    assert undrift("train", "digits", "--out", whole, "steps=30", capsys=capsys)[0] == 0
    ours, theirs = load_file(copied_run / "model.safetensors"), load_file(whole / "model.safetensors")
    assert all((ours[k] == theirs[k]).all() for k in theirs)
    assert json.loads(place.read_text())["weights"] == json.loads((whole / "model.json").read_text())["weights"]


def test_other_data_are_refused_without_model_json_too(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(60, 3))
    small = ("network.kind=mlp", "network.width=8", "network.depth=1", "sample_every=0", "device=cpu", "batch_size=8")
    for name, values in (("a", x), ("b", x + 1)):
        np.save(tmp_path / f"{name}.npy", values)
    words = ("train", "array", *small, "--out", tmp_path / "run", "--data-dir")
    assert undrift(*words, tmp_path / "a.npy", "steps=4", capsys=capsys)[0] == 0
    (tmp_path / "run" / "model.json").unlink()
    refused((*words, tmp_path / "b.npy", "steps=8"), "was trained on other data than", tmp_path, capsys)
    assert undrift(*words, tmp_path / "a.npy", "steps=8", capsys=capsys)[0] == 0


def test_a_picture_of_somebody_else_is_not_overwritten(copied_run, tmp_path, capsys, monkeypatch):
    """The demo writes grid.png, and a user may put anything there; what `sample` itself drew is replaced."""
    place = copied_run / "samples" / "grid.png"
    place.parent.mkdir(exist_ok=True)
    Image.new("L", (3, 3)).save(place)
    before = place.read_bytes()
    for _ in range(2):
        code, out, _ = undrift("sample", copied_run, *QUICK, capsys=capsys)
        assert code == 0 and "grid-2.png" in out
    assert place.read_bytes() == before and not place.with_stem("grid-3").exists()
    refused(("sample", copied_run, *QUICK, "--out", place), "did not write it", copied_run, capsys)  # asked for by name, too
