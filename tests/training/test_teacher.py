"""Runs that learn from other runs: fine-tuning, and distillation of a guided teacher."""

import json
import shutil
import time

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from conftest import refused, undrift
from undrift.error import ModelError
from undrift.run.log import read_log
from undrift.tensorfile import save_tensors
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare

SMALL = {
    "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 32}, "steps": 20, "batch_size": 32, "sample_every": 0,
    "quality_every": 0, "checkpoint_every": 7, "monitor_every": 10, "warmup": 5, "device": "cpu",
}  # fmt: skip
TAUGHT = {"objective.kind": "distillation", "objective.scale": 1.5, "sampling.scale": 1.0}


def train(name, folder, **overrides):
    train_run(str(name), overrides, folder, False, Console(quiet=True), time.perf_counter())
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher, and a worse model of the same data."""
    folder = tmp_path_factory.mktemp("runs")
    return train("digits", folder / "teacher", **SMALL), train("digits", folder / "worse", **{**SMALL, "steps": 8})


def taught(runs, **more):
    teacher, worse = runs
    return {**TAUGHT, "objective.teacher": str(teacher), "objective.guide": str(worse), "start": str(teacher), **more}


def same(a, b, name="model.safetensors"):
    a, b = load_file(a / name), load_file(b / name)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_begins_with_the_averaged_weights_of_another(runs, tmp_path):
    recipe, _ = plan(str(runs[0]), {"start": str(runs[0]), "seed": 5}, tmp_path / "tuned", False)
    trainer, *_ = prepare(recipe, tmp_path / "tuned")
    trainer.lock.close()
    before, now = ud.load(runs[0]).denoiser.state_dict(), trainer.denoiser.state_dict()
    assert all(torch.equal(before[k], now[k]) for k in now)
    assert all(torch.equal(before[k], v) for k, v in trainer.ema.items())


def test_a_network_described_before_it_had_some_option_is_the_same(runs, tmp_path):
    old = shutil.copytree(runs[0], tmp_path / "old")
    told = json.loads((old / "model.json").read_text())
    assert told["network"].pop("layout") == "lean"
    (old / "model.json").write_text(json.dumps(told))
    assert train(runs[0], tmp_path / "new", start=str(old), steps=1).exists()


def test_the_folder_of_a_run_is_its_recipe(runs, tmp_path, capsys):
    assert same(train(runs[0], tmp_path / "again"), runs[0])  # bit for bit, as by the recipe and its overrides
    halves = shutil.copytree(tmp_path / "again", tmp_path / "halves")
    code, out, _ = undrift("train", halves, capsys=capsys)  # without another place to go, the run itself goes on
    assert code == 0 and "trained to its end (20 steps" in out
    assert undrift("train", halves, "steps=25", capsys=capsys)[0] == 0
    assert ud.load(halves).trained["steps"] == 25


def test_a_student_learns_its_guided_teacher(runs, tmp_path):
    folder = train(runs[0], tmp_path / "student", **taught(runs, steps=60))
    looks = [r for r in read_log(folder) if "held_out" in r]
    assert looks[-1]["held_out"] < 0.1 * looks[0]["held_out"]  # there is no noise in it: it goes to zero
    assert "class_gain" not in looks[-1] and not any("floor" in r for r in read_log(folder))
    teacher, worse, student = ud.load(runs[0]), ud.load(runs[1]), ud.load(folder)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for cond in (torch.arange(64) % 10, None):
            plain, said = teacher.denoiser(x, 0.5, cond).data, student.denoiser(x, 0.5, cond).data
            guided = ud.Mix(teacher.denoiser, worse.denoiser, 1.5)(x, 0.5, cond).data
            wanted, other = (plain, guided) if cond is None else (guided, plain)  # without a class it is not guided
            assert (said - wanted).square().mean() < 0.5 * (said - other).square().mean()


def test_a_distillation_that_is_interrupted_is_the_same_bit_for_bit(runs, tmp_path):
    whole = train(runs[0], tmp_path / "whole", **taught(runs))
    teacher, worse = (shutil.copytree(run, tmp_path / run.name) for run in runs)
    again = taught((teacher, worse))
    recipe, _ = plan(str(teacher), again, tmp_path / "halves", False)
    trainer, *_ = prepare(recipe, tmp_path / "halves")
    for report in trainer.run():
        if report.step == 11:
            break
    trainer.save()
    trainer.lock.close()
    train(teacher, tmp_path / "halves", **again)
    assert same(whole, tmp_path / "halves") and same(whole, tmp_path / "halves", "state/step-00000020.safetensors")

    moved = {k: v * 1.001 if v.is_floating_point() else v for k, v in load_file(worse / "model.safetensors").items()}
    save_tensors(worse / "model.safetensors", moved)
    with pytest.raises(ModelError, match=r"halves learnt from other weights of .*teacher or its guide"):
        train(teacher, tmp_path / "halves", **again, steps=25)


@pytest.mark.parametrize(
    "guide", [{}, {"objective.guide": 8}, {"objective.interval": [0.3, 3]}, {"process.kind": "vp", "objective.guide": None}]
)
def test_teachers_are_guided_in_every_way(runs, tmp_path, guide):
    """By itself without the class, by itself as it was, within an interval; and a student of another process."""
    options = {k: v for k, v in taught(runs).items() if k not in ("objective.guide", "start")} | guide
    folder = train(runs[0], tmp_path / "student", **options)
    looks = [r["held_out"] for r in read_log(folder) if "held_out" in r]
    assert looks[-1] < looks[0]
    assert ud.load(folder).sample(2, 3, steps=2).shape == (2, 1, 8, 8)


def test_a_teacher_guided_by_a_classifier_or_told_texts(runs, tmp_path, capsys):
    teacher = shutil.copytree(runs[0], tmp_path / "teacher")
    assert undrift("train-classifier", teacher, "--steps", 4, capsys=capsys)[0] == 0
    texts = train("captions", tmp_path / "texts", **{**SMALL, "steps": 2, "network.attention": [1]})
    for run, more in ((teacher, {"objective.guide": "classifier", "objective.scale": 5.0}), (texts, {"steps": 20})):
        folder = train(run, tmp_path / f"of {run.name}", **{**TAUGHT, "objective.teacher": str(run), **more})
        looks = [r["held_out"] for r in read_log(folder) if "held_out" in r]
        assert looks[-1] < looks[0]


WRONG = [
    (("start=nowhere",), "nowhere: no such run folder"),
    (("start={teacher}", "network.widths=[8,8]"), "has another network than this recipe; begin with its own recipe"),
    (("objective.kind=distillation",), "give objective.teacher=RUN"),
    (("objective.teacher={teacher}",), "objective.teacher means nothing to objective.kind=denoising"),
    (("objective.kind=distillation", "objective.teacher=nowhere"), "nowhere: no such run folder"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.guide=nowhere", "objective.scale=2"), "nowhere: no such run folder"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.guide=classifier"), "train-classifier"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.interval=[3, 1]"), "the lower one first"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.scale=nan"), "finite"),
    (("objective.kind=distillation", "objective.teacher={toy}"), "trained on other data than this run"),
    (("start={toy}",), "has another network"),
    (("start={teacher}", "target=v"), "has another target"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.guide={teacher}"), "do nothing at scale 1"),
    (("objective.kind=distillation", "objective.teacher={teacher}", "objective.interval=[1, 2]"), "do nothing at scale 1"),
    (("objective.times=importance", "objective.weight=bound"), "diverges at t = 0"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_a_mistake_is_one_line_and_leaves_nothing(runs, tmp_path, capsys, words, message):
    toy = runs[0].parent / "toy"
    if not toy.exists():
        train("toy", toy, **{**SMALL, "network": {"kind": "mlp", "width": 8, "depth": 1}, "steps": 2})
    words = [w.format(teacher=runs[0], toy=toy) for w in words]
    refused(["train", runs[0], *words, "--out", tmp_path / "new"], message, tmp_path, capsys)
    assert not (tmp_path / "new").exists()


def test_a_student_that_begins_as_its_teacher_is_no_explosion(runs, tmp_path):
    """Its loss begins at zero, from where it can only rise."""
    teacher = str(runs[0])
    options = {**TAUGHT, "objective.teacher": teacher, "objective.scale": 1.0, "start": teacher, "steps": 40, "monitor_every": 5}
    looks = [r for r in read_log(train(teacher, tmp_path / "student", **options)) if "held_out" in r]
    assert looks[0]["held_out"] < 1e-9 < looks[1]["held_out"] and looks[-1]["step"] == 40


def test_places_are_found_from_anywhere(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(runs[0].parent)
    given = {"objective": {"kind": "distillation", "teacher": "teacher", "guide": "worse", "scale": 2.0}, "sampling.scale": 1.0}
    folder = train("teacher", tmp_path / "student", **given)
    monkeypatch.chdir(tmp_path)
    train("student", folder, steps=22)
    assert ud.load(folder).trained["steps"] == 22


def test_a_run_cannot_learn_from_what_is_put_aside(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "run")
    words = ["train", tmp_path / "run", "--fresh"]
    refused([*words, f"start={tmp_path / 'run'}"], "is the run that --fresh would put aside", tmp_path, capsys)
    taught = ["objective.kind=distillation", f"objective.teacher={runs[0]}", "objective.scale=2"]
    refused([*words, *taught, f"objective.guide={tmp_path / 'run'}"], "--fresh would put aside", tmp_path, capsys)


def test_fresh_with_a_mistake_puts_nothing_aside(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "run")
    refused(["train", tmp_path / "run", "--fresh", "start=nowhere"], "no such run folder", tmp_path, capsys)


def test_a_model_that_was_always_told_its_class_cannot_teach_by_itself(tmp_path, capsys):
    teacher = train("digits", tmp_path / "told", **{**SMALL, "steps": 2, "label_dropout": 0.0, "sampling.scale": 1.0})
    words = ["objective.kind=distillation", f"objective.teacher={teacher}", "objective.scale=2"]
    refused(["train", teacher, *words, "--out", tmp_path / "new"], "label_dropout", tmp_path, capsys)
    words = ["label_dropout=0.1", "objective.kind=distillation", f"objective.teacher={teacher}"]
    refused(["train", teacher, *words, "--out", tmp_path / "new"], "give label_dropout=0", tmp_path, capsys)


def test_a_guide_that_is_told_other_things_is_refused(runs, tmp_path, capsys):
    told = train(
        "digits", tmp_path / "told", **{**SMALL, "steps": 2, "condition.kind": "measured", "condition.operator": "blur:1"}
    )
    words = ["objective.kind=distillation", f"objective.teacher={runs[0]}", f"objective.guide={told}", "objective.scale=2"]
    refused(["train", runs[0], *words, "--out", tmp_path / "new"], "told other things", tmp_path, capsys)
    refused(
        ["sample", runs[0], "--class", 3, "--guide", told, "--out", tmp_path / "o.png"], "told other things", tmp_path, capsys
    )
