"""`undrift diagnose` as a user meets it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from conftest import refused, undrift

SMALL = ("-n", "60", "--sampler", "dpm2m", "--steps", "4")


def test_a_young_network_is_told_that_its_score_is_to_blame(judged_copy, capsys):
    """25 steps of training: every other fault is small beside it."""
    weights = (judged_copy / "model.safetensors").read_bytes()
    code, out, err = undrift("diagnose", judged_copy, *SMALL, "--scale", 1, capsys=capsys)
    assert (code, err) == (0, "")
    assert "dpm2m, 4 steps, guidance scale 1 (w = 0); weights ema, against raw" in out
    assert "costs most" in out
    found = json.loads((judged_copy / "diagnose.json").read_text())
    assert found["culprit"] in ("score", "ema")  # the average of 25 steps still remembers the start
    assert "score" in found["faults"]
    assert found["score"]["nats"]["at_least"]["value"] > 1
    assert found["score"]["nats"]["at_most"]["value"] > found["score"]["nats"]["at_least"]["value"]
    assert found["prior"]["nats"]["at_most"]["value"] < 1e-3
    parts = [part["value"] for part in found["parts"].values()]
    assert sum(parts) == pytest.approx(found["as_sampled"]["value"], rel=1e-9)
    assert Image.open(judged_copy / "diagnose.png").size[0] == 900
    assert (judged_copy / "model.safetensors").read_bytes() == weights


def test_a_run_whose_law_is_known_and_a_table_without_classes(tmp_path, capsys):
    """The toy mixture is judged by its own law. A network of one step of training is as wrong as they come."""
    run = tmp_path / "toy"
    words = ("steps=1", "data.name=mixture", "data.n=500", "sample_every=0", "--out", run)
    assert undrift("train", "toy", *words, capsys=capsys)[0] == 0
    code, _, err = undrift("diagnose", run, *SMALL, "--out", tmp_path / "d.png", capsys=capsys)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "d.json").read_text())
    assert found["score"]["nats"]["at_least"] == found["score"]["nats"]["at_most"]  # known, not bounded
    assert found["culprit"] in ("score", "ema")
    assert found["score"]["bins"][0]["residual"] is not None
    assert not (run / "diagnose.png").exists()


def made(rows, features, folder, capsys):
    """A run of one step on a table of noise."""
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32))
    words = ("steps=1", "network.kind=mlp", "network.width=8", "sample_every=0", "--data-dir", folder / "x.npy")
    code, _, err = undrift("train", "array", *words, "--out", folder / "run", capsys=capsys)
    assert (code, err) == (0, "")
    return folder / "run"


def test_fewer_examples_than_features_or_samples_is_said(tmp_path, capsys):
    run = made(350, 300, tmp_path, capsys)
    code, out, err = undrift("diagnose", run, "-n", 80, "--sampler", "dpm2m", "--steps", 2, capsys=capsys)
    assert (code, err) == (0, "")
    assert "280 training examples are fewer than the 300 features of each: the prior is judged entry by entry" in out
    assert "only 70 held-out examples for 80 samples" in out


def test_one_class_only_is_judged_by_distance_and_not_by_a_classifier(tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 255, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", x=x, labels=np.full(300, "thing"))
    network = ("network={kind: unet, widths: [8], blocks: 1, embedding: 16}", "steps=2", "batch_size=16", "sample_every=0")
    words = ("train", "array", "--data-dir", tmp_path / "one.npz", "--out", tmp_path / "run", *network)
    assert undrift(*words, capsys=capsys)[0] == 0
    code, out, err = undrift("diagnose", tmp_path / "run", *SMALL, capsys=capsys)
    assert (code, err) == (0, "") and "metric: energy distance to training data" in out
    assert "one class only, so no classifier to judge by: the metric is the energy distance" in out
    assert not (tmp_path / "run" / "classifier.safetensors").exists()


def test_too_few_examples(tmp_path, capsys):
    run = made(200, 2, tmp_path, capsys)
    code, _, err = undrift("diagnose", run, *SMALL, capsys=capsys)
    assert code == 2
    assert err.startswith("undrift: ")
    assert "160 training and 40 held-out examples; a diagnosis needs 50 of each" in err
    assert err.count("\n") == 1
    assert not (run / "diagnose.png").exists()


RUN, TMP = "RUN", "TMP"
MISTAKES = [
    (("diagnose", RUN, "--scale", "nan"), "must be a finite number"),
    (("diagnose", RUN, "-w", "inf"), "must be a finite number"),
    (("diagnose", f"{TMP}/nowhere"), "no such run folder"),
    (("diagnose", RUN, "-n", "49"), "-n 49: too few samples for error bars; ask for at least 50"),
    (("diagnose", RUN, "--sampler", "huen"), 'sampler "huen" is unknown — did you mean "heun"?'),
    (("diagnose", RUN, "--grid", "karas"), 'grid "karas" is unknown — did you mean "karras"?'),
    (("diagnose", RUN, "--steps", "0"), "--steps 0: ask for at least one step"),
    (("diagnose", RUN, "--scale", "2", "-w", "1"), "not allowed with"),
    (("diagnose", RUN, "--seed", "-1"), "must not be negative"),
    (("diagnose", RUN, "--data-dir", f"{TMP}/nowhere"), "leave out --data-dir"),
    (("diagnose", RUN, "--out", "/proc/diagnose.png"), "cannot be written"),
    (("diagnose", RUN, "--out", f"{TMP}/diagnose.json"), "name a .png"),
    (("diagnose", RUN, "--weights", "best"), 'weights "best" is unknown'),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_a_mistake_is_one_line_and_changes_nothing(words, message, judged_copy, tmp_path, capsys):
    refused([w.replace(RUN, str(judged_copy)).replace(TMP, str(tmp_path)) for w in words], message, judged_copy, capsys)


def test_a_model_without_its_data(judged_copy, tmp_path, capsys):
    """Two files are a model, but not one that can be diagnosed; nor is one whose data have changed."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.json", "model.safetensors"):
        shutil.copy(judged_copy / name, alone / name)
    code, _, err = undrift("diagnose", alone, *SMALL, capsys=capsys)
    assert code == 2
    assert err.count("\n") == 1
    assert "config.yaml" in err
    assert sorted(p.name for p in alone.iterdir()) == ["model.json", "model.safetensors"]
