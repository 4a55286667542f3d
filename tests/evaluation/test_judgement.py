"""Memorisation, the autoencoder, the report and its command: on planted copies, on small data, on bad input."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import undrift
from undrift.data import Dataset, Spec, digits
from undrift.data.array import array
from undrift.evaluation import likelihood, page as sheets
from undrift.evaluation.report import number, signed, typical
from undrift.metrics.estimate import Estimate
from undrift.metrics.features import Encoder, features, train_encoder
from undrift.metrics.memorization import Memory, by_cosine, by_distance
from undrift.metrics.metric import Points, Space
from undrift.metrics.reference import Reference
from undrift.metrics.registry import METRICS, metrics_of
from undrift.metrics.result import MetricResult


def table(n, seed, d=3):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return Dataset(x, None, Spec((d,), None, None, False, 0.0, 1.0), "table")


def test_the_chance_of_the_first_places_by_counting():
    """Two samples, two held-out: of six orders one has both samples first, two more one sample."""
    two = torch.tensor([3.0, 4.0])
    found = [Memory("", own, torch.tensor([1.0, 2.0]), two.long(), 0.5) for own in (two, torch.tensor([3.0, 1.5]), two - 5)]
    assert [m.p_beyond for m in found] == pytest.approx([1 / 6, 1 / 2, 1])


def test_planted_copies_are_found_and_typical_samples_are_not():
    """Equal laws: 40 tests at level 0.05, at most 7 alarms (exceeded with chance 5 in 1,000). One sample in five copied: found."""

    def normal(n, i):
        return torch.randn(n, 6, generator=torch.Generator().manual_seed(i))

    alarms, tails, train, held_out = 0, 0, normal(200, 0), normal(100, 1)
    for i in range(40):
        honest = by_distance("", normal(60, 3 * i + 2), normal(60, 3 * i + 3), normal(120, 3 * i + 4))
        alarms, tails = alarms + (honest.p < 0.05), tails + (honest.p_beyond < 0.05)
    assert alarms <= 7 and tails <= 7
    samples = normal(100, 2)
    samples[::5] = train[:20] + 0.01 * normal(20, 3)
    found = by_distance("", samples, held_out, train)
    assert found.p < 0.05 and found.beyond >= 20 and found.p_beyond < 1e-5  # a few copies are seen by the second alone
    assert set(found.suspects(20).tolist()) == set(range(0, 100, 5)) and sorted(found.rows[::5].tolist()) == list(range(20))
    typical = by_distance("", 0.3 * normal(100, 2), held_out, train)  # near to everything, copies of nothing
    assert typical.p < 1e-4 and abs(typical.drawn_to - 0.5) < 0.2
    assert by_distance("", train[:100], held_out, train).drawn_to > 0.7  # half of them are among the 100 training examples asked


def test_copies_of_digits_are_found_by_cosine():
    train, held_out = digits().split(0.2, 0)
    y, real = train.batch(torch.arange(50))[0], held_out.batch(torch.arange(100))[0]
    found = by_cosine(y, real, train)
    assert found.rows.tolist() == list(range(50)) and found.p < 1e-10 and found.beyond >= 49
    honest = by_cosine(held_out.batch(torch.arange(100, 200))[0], real, train)
    assert honest.p > 0.01 and abs(honest.odds - 0.5) < 0.15


def test_the_autoencoder_learns_without_labels_and_is_cached(tmp_path):
    whole = digits()
    data = Dataset(whole.raw(torch.arange(260)).numpy(), None, Spec.bounded((1, 8, 8), 0, 16, integer=True), "unlabelled")
    train, held_out = data.split(0.3, 0)
    encoder = train_encoder(train, cache=tmp_path / "encoder.safetensors")
    assert encoder.explained(held_out) > 0.5
    torch.manual_seed(0)
    assert Encoder((1, 8, 8)).eval().explained(held_out) < 0.1  # untrained
    y = held_out.batch(torch.arange(20))[0]
    again = train_encoder(train, cache=tmp_path / "encoder.safetensors")
    assert torch.equal(features(again, y), features(encoder, y)) and features(encoder, y).shape == (20, 96)
    (tmp_path / "encoder.safetensors").write_bytes(b"broken")
    reference = Reference(train, held_out, 100, cache=tmp_path)
    (space,) = reference.spaces
    assert reference.judge is None and {"kernel", "coverage"} <= set(space.floor) and "frechet" not in space.floor
    assert space.missing.pop("frechet").endswith("are the least; read the kernel distance")
    assert space.missing == {"inception": "the data have no classes", "diversity": "the data have no classes"}


def test_vectors_beside_their_floor_and_a_wrong_law_is_worse():
    train, held_out = table(600, 0), table(300, 1)
    reference = Reference(train, held_out, 300)
    (space,) = reference.spaces
    assert set(space.floor) == {"energy", "mmd", "sliced", "marginal", "correlation", "told_apart"}
    good, bad = torch.from_numpy(table(300, 2).raw().numpy()), 2.5 * torch.from_numpy(table(300, 3).raw().numpy())
    for y, wanted in ((good, {"as real data"}), (bad, {"worse than real data"})):
        own = {
            k: MetricResult(METRICS[k], e, space.floor[k], METRICS[k].answers(reference.samples))
            for k, e in space.estimates(y, None).items()
        }
        assert {own[k].verdict for k in ("energy", "mmd", "sliced", "marginal")} == wanted


def test_verdicts():
    def figure(own, floor, key="frechet", of=0):
        estimates = [Estimate(v, (v - 0.1, v, v + 0.1)) for v in (own, floor)]
        return MetricResult(METRICS[key], *estimates, of)

    assert [figure(v, 0).verdict for v in (0.3, 2, -2)] == ["as real data", "worse than real data", "beyond real data"]
    assert [figure(v, 0.8, "precision", 400).verdict for v in (0.78, 0.5, 1.0)] == [
        "as real data",
        "worse than real data",
        "beyond real data",
    ]
    assert figure(1.0, 0.9, "recall").interval(Estimate(1.0, (0.9, 1.0, 1.1)))[1] == 1.0


def in_features(seen, m):
    """The space of these features against `m` points of theirs."""

    def see(h, labels):
        return Points(h, labels, lambda labels: None)

    return Space("features", "", see(seen, None), see(seen[:m], None), see, metrics_of("features"))


def test_few_samples_of_the_same_law_are_as_real_data():
    """40 pairs of 20 samples, six figures: at one false alarm in 370 more than 4 come with chance 1 in 2,000. With two groups only,
    three standard errors would give about 20, and a recall that no group changes would count without any error."""

    def normal(n, seed):
        return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))

    alarms, narrow = 0, 0
    for i in range(40):
        space = in_features(normal(400, 3 * i), 20)
        assert space.missing.keys() == {"inception", "diversity"}
        own, floor = space.estimates(normal(20, 3 * i + 1)), space.estimates(normal(20, 3 * i + 2))
        for key, e in own.items():
            found = MetricResult(METRICS[key], e, floor[key], 20 * (key in ("precision", "recall", "coverage")))
            alarms += found.verdict != "as real data"
            low, high = found.interval(e)
            narrow += high - low < 0.1 and key in ("recall", "coverage")
    assert alarms <= 4 and narrow == 0


def test_a_difference_that_no_group_of_samples_changes_is_not_sure():
    assert (
        signed(Estimate(0.02, (0.02,) * 5)) == "0.020 (0.020 to 0.020)"
        and number(Estimate(0.98, (0.98, 0.98 + 1e-16))) == "0.980"
    )
    assert signed(Estimate(0.02, (0.019, 0.02, 0.021))).endswith("differs")


def test_evaluate_writes_a_report_that_stands_alone(judged_copy, capsys):
    code, out, err = undrift("evaluate", judged_copy, "-n", 60, "--steps", 2, capsys=capsys)
    assert (code, err) == (0, "")
    assert "recognised as the class asked for" in out and "nearest training example" in out
    assert (
        "Fréchet distance  " in out
        and "60 samples are too few for 128 dimensions; 192 are the least; read the kernel distance" in out
    )
    html, data = (judged_copy / "report.html").read_text(), json.loads((judged_copy / "report.json").read_text())
    assert not re.search(r"<script|<link|src=\"(?!data:)|https?://", html) and html.count("data:image/png;base64,") >= 5
    run = data["runs"][0]
    assert run["measured"] == 60 and len(data["data"]) == 64
    assert {"kernel", "inception", "precision", "recall", "density", "coverage", "diversity"} == set(run["figures"])
    assert set(run["not measured"]) == {"frechet"} and "too few for 128 dimensions" in html
    assert run["figures"]["kernel"]["verdict"] == "worse than real data"  # 25 steps of training
    for f in run["figures"].values():
        for which in ("samples", "held-out"):
            assert f[which]["low"] <= f[which]["value"] <= f[which]["high"]
    assert set(run["classes"]) == {"samples", "held-out data"} and run["classes"]["held-out data"]["p"] > 0.01


def test_of_enough_samples_the_frechet_distance_is_measured_everywhere(judged_copy, tmp_path, capsys):
    """192 of 359 held-out digits: in the terminal, in the page, in the numbers and in the comparison, with the error of the
    reference."""
    other = tmp_path / "other"
    shutil.copytree(judged_copy, other)
    code, out, err = undrift("evaluate", judged_copy, other, "-n", 192, "--steps", 2, "--out", tmp_path, capsys=capsys)
    assert (code, err) == (0, "") and out.count("  Fréchet distance") == 3
    found = json.loads((tmp_path / "comparison.json").read_text())
    run = found["runs"][0]
    frechet = run["figures"]["frechet"]
    assert not run["not measured"] and frechet["verdict"] == "worse than real data"
    assert frechet["held-out"]["low"] < 0 < frechet["held-out"]["high"]
    assert found["differences from the first run"][0]["frechet"]["value"] == 0
    assert "Fréchet distance" in (tmp_path / "comparison.html").read_text()


def test_distances_to_training_examples_are_shown_as_distances(monkeypatch, tmp_path, capsys):
    """Positive, with words on the axis that say which side is nearer; cosines as they are."""
    y = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    found = by_distance("distance", y, y + 1, torch.zeros(5, 2))
    assert found.shown(found.likeness).tolist() == pytest.approx([0, 5, 2], abs=1e-5)
    assert typical(found, found.likeness) == "median 2.000 (0.000 to 5.000)"
    drawn = []
    monkeypatch.setattr(sheets.chart, "histogram", lambda groups, axis: drawn.append((groups, axis)) or Image.new("RGB", (9, 9)))
    sheets._remembered(found, y, table(5, 0, 2))
    sheets._remembered(replace(found, space="cosine"), y, table(5, 0, 2))
    (distances, near), (cosines, alike) = drawn
    assert all(bool((v >= 0).all()) for v in distances.values()) and near.endswith("nearer to the left")
    assert all(bool((v <= 0).all()) for v in cosines.values()) and alike.endswith("more alike to the right")


def test_likelihood_stands_in_the_report(judged_copy, capsys, monkeypatch):
    whole = likelihood.likelihood_of_run
    monkeypatch.setattr(likelihood, "likelihood_of_run", lambda *words, **options: whole(*words, **options, n=4, steps=2))
    code, out, err = undrift("evaluate", judged_copy, "-n", 20, "--steps", 1, "--likelihood", capsys=capsys)
    assert (code, err) == (0, "")
    table = [line for line in out.splitlines() if line.startswith(("train  ", "held-out  "))]
    assert len(table) == 2 and "bits/dim" in out and "bound" in out
    assert table[1] in (judged_copy / "report.html").read_text()


def test_a_run_against_itself_differs_by_nothing_and_with_another_split_is_refused(judged_copy, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(judged_copy, other)
    code, out, err = undrift("evaluate", judged_copy, other, "-n", 40, "--steps", 1, capsys=capsys)
    assert (code, err) == (0, "") and "same noise" in out
    gaps = json.loads((judged_copy / "comparison.json").read_text())["differences from the first run"][0]
    assert all(g["value"] == 0 == g["standard error"] for g in gaps.values())
    assert "Side by side" in (judged_copy / "comparison.html").read_text()
    config = (other / "config.yaml").read_text()
    assert "seed: 0" in config
    (other / "config.yaml").write_text(config.replace("seed: 0", "seed: 1"))  # another split: the model was not trained on it
    before = sorted(p.name for p in judged_copy.iterdir())
    code, _, err = undrift("evaluate", judged_copy, other, "-n", 40, "--out", tmp_path / "out", capsys=capsys)
    assert code == 2 and err.count("\n") == 1 and "not what the model was trained on" in err
    assert not (tmp_path / "out").exists() and sorted(p.name for p in judged_copy.iterdir()) == before


def test_runs_of_different_data_are_not_compared(judged_copy, tmp_path, capsys):
    code, _, err = undrift("train", "toy", "steps=2", "--out", tmp_path / "toy", capsys=capsys)
    assert code == 0, err
    code, out, err = undrift("evaluate", judged_copy, tmp_path / "toy", "-n", 40, capsys=capsys)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "trained on other data" in err
    assert not (judged_copy / "comparison.html").exists()


def test_vectors_of_a_toy_are_judged_by_columns(tmp_path, capsys):
    assert undrift("train", "toy", "steps=2", "data.n=600", "--out", tmp_path / "toy", capsys=capsys)[0] == 0
    code, out, err = undrift("evaluate", tmp_path / "toy", "-n", 60, "--steps", 2, "--out", tmp_path / "out", capsys=capsys)
    assert (code, err) == (0, "")
    run = json.loads((tmp_path / "out" / "report.json").read_text())["runs"][0]
    assert (
        [c["number"] for c in run["columns"]] in ([0, 1], [1, 0]) and "told_apart" in run["figures"] and "energy distance" in out
    )


def test_fewer_samples_than_columns_is_said_and_what_takes_more_is_not_measured(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32))
    words = ("steps=1", "network.kind=mlp", "network.width=8", "sample_every=0", "--data-dir", tmp_path / "x.npy")
    assert undrift("train", "array", *words, "--out", tmp_path / "run", capsys=capsys)[0] == 0
    code, out, err = undrift("evaluate", tmp_path / "run", "-n", 30, "--steps", 2, capsys=capsys)
    assert (code, err) == (0, "")
    assert "careful: 30 samples of 50 columns: fewer samples than columns, so only large differences between laws are seen" in out
    (line,) = [line for line in out.splitlines() if "told apart" in line]
    assert "not measured  30 samples are too few to train on half of them; 40 are the least" in line
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fewer samples than columns" in page and "too few to train on half of them" in page


def test_classes_of_data_that_are_no_pictures_are_said_not_to_be_recognised(tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 255, (150, 1, 5, 5))
    np.savez(tmp_path / "tiny.npz", x=x.astype(np.uint8), labels=np.arange(150) % 3)
    words = ("steps=1", "network.kind=mlp", "network.width=8", "sample_every=0", "--data-dir", tmp_path / "tiny.npz")
    assert undrift("train", "array", *words, "--out", tmp_path / "run", capsys=capsys)[0] == 0
    code, out, err = undrift("evaluate", tmp_path / "run", "-n", 20, "--steps", 1, capsys=capsys)
    assert (code, err) == (0, "") and out.count("not measured: a classifier is trained of pictures of at least 8 x 8 only") == 2
    assert {"recognised", "balances"} <= set(
        json.loads((tmp_path / "run" / "report.json").read_text())["runs"][0]["not measured"]
    )


def test_one_class_only_is_said_and_measured_without(tmp_path, capsys):
    x = digits().raw(torch.arange(300))[:, 0].numpy() * 15
    np.savez(tmp_path / "one.npz", x=x.astype(np.uint8), labels=np.full(300, "digit"))
    network = ("network={kind: unet, widths: [8], blocks: 1, embedding: 16}", "steps=2", "batch_size=16")
    words = ("train", "array", "--data-dir", tmp_path / "one.npz", "--out", tmp_path / "run", *network)
    code, _, err = undrift(*words, capsys=capsys)
    assert code == 0, err
    code, out, err = undrift("evaluate", tmp_path / "run", "-n", 30, "--steps", 1, capsys=capsys)
    assert (code, err) == (0, "") and "careful: one class only" in out
    for what in ("recognised as the class asked for: ", "inception score, by the data's classifier", "class frequencies: "):
        (line,) = [line for line in out.splitlines() if line.strip().startswith(what)]
        assert "not measured" in line and "one class only" in line
    page, run = (
        (tmp_path / "run" / "report.html").read_text(),
        json.loads((tmp_path / "run" / "report.json").read_text())["runs"][0],
    )
    assert page.count("one class only") >= 4 and set(run["not measured"]) == {"recognised", "inception", "balances", "frechet"}
    assert run["recognised"] is None and "kernel" in run["figures"]
    assert array(tmp_path / "one.npz").spec.classes == ("digit",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-n", "19"), "20 are the least"),
        (("-n", "0"), "at least one sample"),
        (("--out", "FILE"), "is not a folder that you may write to"),
        (("--out", "FILE/below"), "is not a folder that you may write to"),
        (("--generative-classifier", "--likelihood"), "judged alone"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, message, judged_run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    before = sorted(p.name for p in judged_run.iterdir())
    words = [w.replace("FILE", str(tmp_path / "file")) for w in words]
    code, out, err = undrift("evaluate", judged_run, *words, capsys=capsys)
    assert (code, out) == (2, "") and err.count("\n") == 1 and message in err
    assert sorted(p.name for p in judged_run.iterdir()) == before and (tmp_path / "file").read_text() == "mine"
