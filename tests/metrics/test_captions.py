"""Captions end to end: a model that is trained, stored, loaded, asked in words and judged; and the judge of captions itself."""

import json
import time

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from undrift.cli import main
from undrift.data import captions, digits
from undrift.error import ModelError, RecipeError, UndriftError
from undrift.evaluation.captions import CaptionVerdict, judge_captions, look
from undrift.metrics.recognition import Judge
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare

QUIET = Console(quiet=True)
TINY = {
    "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 16, "attention": [1], "patch": 2},
    "condition.width": 16, "data.n": 300, "steps": 12, "batch_size": 8, "checkpoint_every": 5, "sample_every": 0, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions") / "run"
    train_run("captions", TINY, folder, False, QUIET, time.perf_counter())
    return folder


@pytest.fixture(scope="module")
def judge():
    """Knows every digit by heart: the class of the nearest one."""
    data = digits()
    known = data.batch(torch.arange(len(data)))[0].flatten(1)

    class Nearest(torch.nn.Module):
        def forward(self, y):
            nearest = torch.cdist(y.flatten(1), known).argmin(1)
            return torch.nn.functional.one_hot(torch.from_numpy(data.labels)[nearest], 10)

    return Judge(Nearest(), 1.0, len(data))


def test_interrupted_and_taken_up_again_is_the_same_bit_for_bit(run, tmp_path):
    recipe, _ = plan("captions", TINY, tmp_path / "run", False)
    trainer, *_ = prepare(recipe, tmp_path / "run")
    for report in trainer.run():
        if report.step == 7:
            break
    trainer.save()
    trainer.lock.close()
    train_run("captions", TINY, tmp_path / "run", False, QUIET, time.perf_counter())
    for name in ("model.safetensors", "state/step-00000012.safetensors"):
        a, b = load_file(run / name), load_file(tmp_path / "run" / name)
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert any("encoder.words" in k for k in a)


def test_captions_are_dropped_as_a_whole_at_the_rate(tmp_path):
    """A quarter of 800 captions: 5 standard errors."""
    recipe, _ = plan("captions", {**TINY, "label_dropout": 0.25, "batch_size": 400, "steps": 2}, tmp_path / "run", False)
    trainer, *_ = prepare(recipe, tmp_path / "run")
    seen, inner = [], trainer.denoiser.net.forward
    trainer.denoiser.net.forward = lambda x, level, cond: seen.append(cond.mask) or inner(x, level, cond)
    for _ in trainer.run():
        pass
    words = torch.cat(seen).sum(1)
    assert set(words.tolist()) <= {0, 5, 6}
    assert abs((words == 0).double().mean() - 0.25) < 5 * (0.25 * 0.75 / 800) ** 0.5


def test_the_words_are_part_of_the_model(run):
    told = json.loads((run / "model.json").read_text())["condition"]
    assert told["words"] == sorted(["a", "an", "next", "to", "above", "below", *NUMBERS]) and told["length"] == 6
    model = ud.load(run)
    text = "a three next to a seven"
    assert torch.equal(model.draw(3, text, seed=1), model.draw(3, [text] * 3, seed=1))
    assert torch.equal(model.draw(2, text, seed=1), model.draw(2, model.condition(2, text), seed=1))
    apart = model.draw(2, ["a three above a seven", "a seven above a three"], seed=1)
    assert not torch.allclose(apart, model.draw(2, text, seed=1), atol=1e-5)
    torch.testing.assert_close(model.draw(2, "", seed=1), model.draw(2, seed=1), atol=1e-4, rtol=1e-4)
    value = model.log_likelihood(torch.from_numpy(np.zeros((1, 1, 16, 16), "uint8")), text, divergence="hutchinson", steps=2)
    assert value.value.isfinite().all()


NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.mark.parametrize(("cond", "message"), [
    ("a thre next to a seven", 'the word "thre" is unknown — did you mean "three"'),
    ("a three next to a seven next to a nine", "has 10 words; this model reads at most 6"),
    (3, "this model reads text, not class numbers; ask for one like"),
])  # fmt: skip
def test_what_cannot_be_asked(run, cond, message):
    with pytest.raises(UndriftError, match=message):
        ud.load(run).draw(2, cond)
    with pytest.raises(ValueError, match="names 1 texts for 2 samples"):
        ud.load(run).draw(2, ["a three next to a seven"])


def test_a_recipe_that_does_not_fit_says_so(tmp_path):
    with pytest.raises(RecipeError, match="needs data with captions; digits have none"):
        train_run("digits", {"condition.kind": "text", "steps": 1}, tmp_path / "a", False, QUIET, time.perf_counter())
    with pytest.raises(RecipeError, match="a sequence is read by the levels of `attention`, but there are none"):
        train_run("captions", {**TINY, "network": {"kind": "unet"}}, tmp_path / "b", False, QUIET, time.perf_counter())
    with pytest.raises(RecipeError, match=r"condition.kind=text is told to pictures; use network.kind=unet"):
        train_run("captions", {**TINY, "network": {"kind": "mlp"}}, tmp_path / "c", False, QUIET, time.perf_counter())


@pytest.mark.parametrize("damage", [
    {"words": []}, {"words": ["a", "a"]}, {"length": 0}, {"width": 10**9}, {"width": 17}, {"words": None}, "text", None,
])  # fmt: skip
def test_a_damaged_vocabulary_is_said(run, tmp_path, damage):
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    tree = json.loads((tmp_path / "model.json").read_text())
    tree["condition"] = tree["condition"] | damage if isinstance(damage, dict) else damage
    (tmp_path / "model.json").write_text(json.dumps(tree))
    with pytest.raises(ModelError) as caught:
        ud.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_judge_of_captions_sees_real_pictures_and_is_not_fooled(judge):
    real = captions("test", n=1000)
    y = real.batch(torch.arange(200))[0]
    asked, seen = look(judge, y, real.texts)
    assert torch.equal(asked, seen)
    wrong = [text.replace("next to", "above") if "next" in text else text.replace("above", "below") for text in real.texts]
    asked, seen = look(judge, y, wrong)
    moved = torch.tensor([a != b for a, b in zip(wrong, real.texts, strict=True)])
    assert (asked == seen).all(1)[moved].double().mean() < 0.2


def test_a_verdict_counts_pictures_with_both_digits_right(judge):
    asked = torch.tensor([[3, 7], [1, 2], [1, 2], [4, 4]])
    verdict = CaptionVerdict(
        asked, torch.tensor([[3, 7], [1, 2], [2, 1], [4, 5]]), ("above", "above", "below", "below"), judge, 0.9
    )
    assert verdict.right.tolist() == [True, True, False, False] and verdict.new.tolist() == [True, False, False, False]
    text = "\n".join(verdict.lines())
    assert (
        "50.0 % of 4 samples" in text and "above: 100.0 %" in text and "below: 0.0 %" in text and "100.0 % of 1 samples" in text
    )


def test_an_untrained_model_is_not_right_and_real_pictures_are(run, judge, monkeypatch):
    monkeypatch.setattr("undrift.evaluation.captions.train_judge", lambda *_, cache: judge)
    verdict = judge_captions(ud.load(run), run, 20, steps=2)
    assert verdict.right.double().mean() < 0.3 and verdict.floor == 1.0


def test_command_line(run, tmp_path, capsys):
    words = ["sample", str(run), "-n", "4", "--steps", "2", "--out", str(tmp_path / "a.png"), "--npz", str(tmp_path / "a.npz")]
    assert main([*words, "--prompt", "a three next to a seven", "--prompt", "an eight above a one"]) == 0
    assert "guidance scale 2" in capsys.readouterr().out
    arrays = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert arrays["captions"].tolist() == ["a three next to a seven", "an eight above a one"] * 2
    assert arrays["x"].shape == (4, 1, 16, 16)
    assert main(["sample", str(run), "--steps", "1", "--out", str(tmp_path / "b.png"), "--strip", str(tmp_path / "s.png")]) == 0
    assert main(["info", str(run)]) == 0
    assert "text of up to 6 words of 16" in capsys.readouterr().out
    for more, message in (
        (["--prompt", "a seevn"], 'the word "seevn" is unknown — did you mean "seven"'),
        (["--class", "7"], "this model reads text and has no classes"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_command_line_of_classes(tiny_run, capsys, tmp_path):
    assert main(["sample", str(tiny_run), "--prompt", "seven", "--out", str(tmp_path / "a.png")]) == 2
    assert "this model reads no text" in capsys.readouterr().err
    assert main(["evaluate", str(tiny_run), "--generative-classifier", "-n", "5", "--steps", "3"]) == 2
    assert "draws no samples" in capsys.readouterr().err
    with pytest.raises(UndriftError, match="trained by `undrift train captions` only"):
        judge_captions(ud.load(tiny_run), tiny_run, 3)
