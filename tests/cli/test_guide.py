"""`undrift train-classifier`, and `--guide` of `undrift sample` and `undrift evaluate`."""

import shutil

import numpy as np
import pytest

import undrift as ud
from conftest import refused, undrift
from undrift.cli import main
from undrift.evaluation import judgement
from undrift.training import load_earlier


@pytest.fixture(scope="module")
def guided_run(tiny_run, tmp_path_factory):
    """A copy of the tiny run with a classifier of a few steps."""
    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("guide") / "run")
    assert main(["train-classifier", str(folder), "--steps", "4"]) == 0
    return folder


def test_train_classifier_says_how_well_it_sees(copied_run, capsys):
    before = {p.name for p in copied_run.iterdir()}
    code, out, err = undrift("train-classifier", copied_run, "--steps", 3, capsys=capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "log-SNR" in lines[1] and "accuracy" in lines[1] and "cross-entropy" in lines[1]
    assert lines[2].split()[0].startswith("+8.0") and "chance" in lines[10] and "2.30" in lines[10]
    assert "trained 3 steps" in out and "--guide classifier" in out
    assert {p.name for p in copied_run.iterdir()} - before == {"noisy_classifier.json", "noisy_classifier.safetensors"}


def test_samples_are_guided_by_the_classifier(guided_run, tmp_path, capsys):
    common = ("sample", guided_run, "-n", 4, "--class", 4, "--steps", 3, "--seed", 3)
    for name, extra in (("by", ("--guide", "classifier", "--scale", 2)), ("zero", ("--guide", "classifier", "-w", -1)),
                        ("none", ())):  # fmt: skip
        words = common if name != "none" else ("sample", guided_run, "-n", 4, "--class", "none", "--steps", 3, "--seed", 3)
        code, out, err = undrift(*words, *extra, "--npz", tmp_path / f"{name}.npz", capsys=capsys)
        assert (code, err) == (0, "")
        assert ("by classifier scale 2 (w = 1)" in out) == (name == "by")
    by, zero, none = (np.load(tmp_path / f"{name}.npz")["x"] for name in ("by", "zero", "none"))
    assert (zero == none).mean() > 0.99 and (by != zero).any()  # at scale 0 the class is not seen


def test_a_weaker_run_guides_and_evaluate_takes_a_guide_too(guided_run, tiny_run, judged_run, capsys, monkeypatch):
    code, out, err = undrift("sample", guided_run, "-n", 2, "--class", "none", "--steps", 2, "--guide", tiny_run, "--scale", 1.5,
                             capsys=capsys)  # fmt: skip
    assert (code, err) == (0, "")
    assert f"by {tiny_run} scale 1.5 (w = 0.5)" in out
    shutil.copy(judged_run / "classifier.safetensors", guided_run)
    given = {}
    honest = judgement.judge

    def judge(*words, **options):
        given.update(options)
        return honest(*words, **options | {"guide": None})

    monkeypatch.setattr(judgement, "judge", judge)
    words = ("evaluate", guided_run, "-n", 20, "--steps", 1, "--guide", "classifier", "--out", guided_run / "judged")
    code, out, err = undrift(*words, capsys=capsys)
    assert (code, err) == (0, "") and "by classifier" in out
    assert isinstance(given["guide"], ud.NoisyClassifier)


def test_guidance_in_an_interval_and_rescaled(guided_run, tmp_path, capsys):
    def drawn(*extra):
        words = ("sample", guided_run, "-n", 4, "--class", 4, "--steps", 4, "--npz", tmp_path / "x.npz", *extra)
        code, out, err = undrift(*words, capsys=capsys)
        assert (code, err) == (0, "")
        return np.load(tmp_path / "x.npz")["x"].astype(int), out

    for by in ((), ("--guide", "classifier")):
        plain, full = drawn(*by, "--scale", 0 if by else 1)[0], drawn(*by, "--scale", 6)[0]
        never, out = drawn(*by, "--scale", 6, "--interval", 1e8, 1e9)
        assert "for sigma/alpha from 1e+08 to 1e+09" in out
        always = drawn(*by, "--scale", 6, "--interval", 0, "inf")[0]
        part = drawn(*by, "--scale", 6, "--interval", 0.3, 5)[0]
        assert (never == plain).all() and (always == full).all()
        assert (part != plain).any() and (part != full).any()
    less, out = drawn("--scale", 6, "--rescale", 0.7)
    assert "rescaled by 0.7" in out and (less != drawn("--scale", 6)[0]).any()


@pytest.mark.parametrize(("words", "message"), [
    (("sample", "RUN", "--interval", "5", "0.3"), "the lower one first"),
    (("sample", "RUN", "--rescale", "2"), "a share between 0 (none) and 1 (all)"),
    (("sample", "RUN", "--class", "none", "--interval", "0.3", "5"), "needs a class"),
    (("sample", "GUIDED", "--guide", "classifier", "--rescale", "0.5"), "a classifier makes none"),
    (("evaluate", "RUN", "--generative-classifier", "--interval", "0.3", "5"), "leave out the options"),
    (("impute", "RUN", "held-out", "--mask", "left", "--guide", "classifier"), '"--guide" is not understood'),
    (("sample", "RUN", "--guide", "classifier"), "has no noise-aware classifier; train one with"),
    (("sample", "RUN", "--guide", "nowhere"), "no such run folder"),
    (("sample", "GUIDED", "--guide", "classifier", "--class", "none"), "needs a class"),
    (("train-classifier", "nowhere"), "no such run folder"),
    (("train-classifier", "RUN", "--steps", "0"), "at least one step"),
    (("train-classifier", "RUN", "--minutes", "-1"), "at least one step"),
    (("train-classifier", "RUN", "--data-dir", "x"), "come with the library"),
    (("train-classifer", "RUN"), 'did you mean "train-classifier"'),
], ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(words, message, tiny_run, guided_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(tiny_run, tmp_path / "copy")
    refused([{"RUN": str(run), "GUIDED": str(guided_run)}.get(w, w) for w in words], message, tmp_path, capsys)


def test_a_run_leans_away_from_itself_as_it_was(copied_run, tmp_path, capsys):
    early, now = load_earlier(copied_run, 1), ud.load(copied_run)
    assert (early.trained["weights_of_step"], now.trained["steps"]) == (16, 25)  # the only snapshot of so short a run
    then = dict(early.denoiser.named_parameters())
    assert all((p != then[k]).any() for k, p in now.denoiser.named_parameters() if p.abs().sum() > 0)
    common = ("sample", copied_run, "-n", 2, "--class", 4, "--steps", 2)
    for name, extra in (
        ("one", ("--guide", 1, "--scale", 1)),
        ("two", ("--guide", "+16", "--scale", 2)),
        ("no", ("--scale", 1)),
    ):
        code, out, err = undrift(*common, *extra, "--npz", tmp_path / f"{name}.npz", capsys=capsys)
        assert (code, err) == (0, "")
        assert ("by step 16 scale" in out) == (name != "no")
    one, two, no = (np.load(tmp_path / f"{name}.npz")["x"] for name in ("one", "two", "no"))
    assert (one == no).all() and (one != two).any()


def test_a_run_without_snapshots_cannot_lean_away_from_itself(copied_run, capsys):
    for step in (0, -1, 26, "99999999999999999999", "９９"):
        refused(("sample", copied_run, f"--guide={step}"), "it was trained for 25 steps; name one of them", copied_run, capsys)
    for path in (copied_run / "state").glob("average-*"):
        path.unlink()
    refused(("sample", copied_run, "--guide", 5), "keeps no snapshots of earlier steps", copied_run, capsys)
