"""Training: order, rates, averages, and going on as if nothing had happened."""

import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from undrift.data.order import Order
from undrift.error import ModelError, OutputError, RecipeError, UndriftError
from undrift.recipe.read import load_recipe, make_recipe
from undrift.run.log import read_log
from undrift.training.ema import EMA
from undrift.training.session import Session, Stopped, run, train_run
from undrift.training.setup import plan, prepare, put_aside
from undrift.training.trainer import learning_rate

QUIET = Console(quiet=True)
SMALL = {
    "network": {"kind": "mlp", "width": 16, "depth": 1}, "steps": 30, "batch_size": 32, "sample_every": 0,
    "checkpoint_every": 7, "log_every": 5, "data.n": 500, "device": "cpu",
}  # fmt: skip


def trained(folder, **overrides):
    train_run("toy", {**SMALL, **overrides}, folder, False, QUIET, time.perf_counter())
    return folder


def tensors(folder, name="model.safetensors"):
    return load_file(folder / name)


def test_an_epoch_is_a_permutation_and_a_step_can_be_looked_up():
    order = Order(100, seed=3)
    whole = torch.cat([order.rows(k, 32) for k in range(25)])
    assert sorted(whole[:100].tolist()) == list(range(100))
    assert sorted(whole[100:200].tolist()) == list(range(100))
    assert whole[:100].tolist() != whole[100:200].tolist()
    assert torch.equal(Order(100, seed=3).rows(17, 32), whole[17 * 32 : 18 * 32])
    assert not torch.equal(Order(100, seed=4).rows(0, 32), whole[:32])
    assert len(Order(5, 0).rows(2, 32)) == 32


def test_the_learning_rate_warms_up_and_decays():
    recipe = load_recipe("toy", {"warmup": 10, "learning_rate": 1.0, "decay_from": 0.5})
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(recipe, 50, 0.4) == 1.0
    assert learning_rate(recipe, 50, 0.75) == pytest.approx(0.5)
    assert learning_rate(recipe, 50, 1.0) == pytest.approx(0.0)


def test_the_average_has_its_halflife_and_forgets_the_start():
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    ema = EMA(module, halflife=1000)
    with torch.no_grad():
        module.weight.fill_(1.0)
    for step in range(10_000, 10_010):
        ema.update(module, step, 100)  # 10 updates of 100 examples: one half-life
    assert ema.weights["weight"].item() == pytest.approx(0.5, abs=1e-6)
    early = EMA(module, halflife=1e9)
    with torch.no_grad():
        module.weight.fill_(3.0)
    for step in range(100):
        early.update(module, step, 100)
    assert early.weights["weight"].item() == pytest.approx(3.0, abs=0.01)


def test_training_learns(tmp_path):
    folder = trained(tmp_path / "run", steps=150, learning_rate=3e-3)
    losses = [r["loss"] for r in read_log(folder) if "loss" in r]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("network", ["mlp", "unet with dropout"])
def test_a_run_interrupted_and_taken_up_again_is_the_same_bit_for_bit(tmp_path, network):
    if network == "mlp":
        name, overrides = "toy", SMALL
    else:
        name, overrides = "digits", {k: v for k, v in SMALL.items() if k != "data.n"}
        overrides |= {"network": {"kind": "unet", "widths": [8], "blocks": 1, "embedding": 16, "dropout": 0.3}}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train_run(name, overrides, whole, False, QUIET, time.perf_counter())
    recipe, _ = plan(name, overrides, halves, False)
    trainer, *_ = prepare(recipe, halves)
    for report in trainer.run():
        if report.step == 11:
            break
    trainer.save()
    trainer.lock.close()
    train_run(name, overrides, halves, False, QUIET, time.perf_counter())
    for name in ("model.safetensors", "state/step-00000030.safetensors", "state/average-00000016.safetensors"):
        a, b = tensors(whole, name), tensors(halves, name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_c_saves_and_says_how_to_go_on(tmp_path, monkeypatch, number):
    recipe, _ = plan("toy", SMALL, tmp_path / "run", False)
    trainer, _, _, held_out = prepare(recipe, tmp_path / "run")
    steps = trainer.run

    def interrupted(started=None):
        for report in steps(started):
            yield report
            if report.step == 9:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(trainer, "run", interrupted)
    with pytest.raises(Stopped, match=r"stopped at step \d+; everything is saved in"):
        run(Session(trainer, held_out), QUIET)
    step = ud.load(tmp_path / "run").trained["steps"]
    assert 9 <= step <= 10
    trainer.lock.close()
    trained(tmp_path / "run")
    whole = tensors(trained(tmp_path / "whole"))
    assert all(torch.equal(v, whole[k]) for k, v in tensors(tmp_path / "run").items())


def test_a_finished_run_says_so_and_a_longer_one_goes_on(tmp_path, capsys):
    folder = trained(tmp_path / "run")
    train_run("toy", SMALL, folder, False, Console(), time.perf_counter())
    assert "is trained to its end (30 steps" in " ".join(capsys.readouterr().out.split())
    trained(folder, steps=40)
    assert ud.load(folder).trained["steps"] == 40


@pytest.mark.parametrize("harm", ["flipped", "lost", "half a description"])
def test_the_model_of_a_finished_run_is_written_anew_by_the_same_command(tmp_path, capsys, harm):
    folder = trained(tmp_path / "run")
    before = {k: v.clone() for k, v in tensors(folder).items()}  # not mapped to what is damaged below
    config = (folder / "config.yaml").read_bytes()
    weights = folder / "model.safetensors"
    if harm == "flipped":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif harm == "lost":
        weights.unlink()
    else:
        (folder / "model.json").write_bytes((folder / "model.json").read_bytes()[:200])
    with pytest.raises(ModelError, match="or give the command that trained it again: it writes the model anew"):
        ud.load(folder)
    train_run("toy", SMALL, folder, False, Console(), time.perf_counter())
    said = " ".join(capsys.readouterr().out.split())
    assert "it is written anew from the state of step 30" in said and "is trained to its end" in said
    after = tensors(folder)
    assert ud.load(folder).trained["steps"] == 30 and all(torch.equal(v, after[k]) for k, v in before.items())
    assert (folder / "config.yaml").read_bytes() == config


def test_a_goal_that_the_run_is_past_is_refused_and_not_remembered(tmp_path, capsys):
    folder = trained(tmp_path / "run")
    config = (folder / "config.yaml").read_bytes()
    for goal in ({"steps": 20}, {"steps": None, "minutes": 1e-6}):
        with pytest.raises(
            RecipeError, match=r"run is past (steps=20|minutes=1e-06) already: 30 steps in .* minutes; give a larger one"
        ):
            train_run("toy", {**SMALL, **goal}, folder, False, Console(), time.perf_counter())
        assert (folder / "config.yaml").read_bytes() == config and "is now" not in capsys.readouterr().out


def test_states_without_their_recipe_are_named(tmp_path):
    folder = trained(tmp_path / "run")
    (folder / "config.yaml").unlink()
    with pytest.raises(OutputError, match=r"run has states, but no config.yaml; restore it"):
        train_run("toy", SMALL, folder, False, Console(), time.perf_counter())


def test_what_may_change_and_what_may_not(tmp_path):
    folder = trained(tmp_path / "run")
    _, changes = plan("toy", {"steps": 60, "learning_rate": 1e-4}, folder, False)
    assert any(line.startswith("steps is now 60 (was 30): the schedule of the rate is stretched") for line in changes)
    assert any(line.startswith("learning_rate is now 0.0001 (was 0.002): every step from here on") for line in changes)
    with pytest.raises(RecipeError, match=r"was trained with process.beta_max=20.0, not 15"):
        plan("toy", {"process.beta_max": 15}, folder, False)
    with pytest.raises(RecipeError, match="holds a run of recipe toy"):
        plan("digits", {}, folder, False)


def test_fresh_deletes_nothing(tmp_path):
    folder = trained(tmp_path / "run")
    before = tensors(folder)
    train_run("toy", {**SMALL, "seed": 1}, folder, True, QUIET, time.perf_counter())
    assert ud.load(folder).trained["steps"] == 30
    kept = tensors(tmp_path / "run.1")
    assert all(torch.equal(kept[k], before[k]) for k in before)
    assert put_aside(folder) == tmp_path / "run.2"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty and holds no run"):
        plan("toy", {}, tmp_path, False)


def test_other_data_are_noticed(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(100, 3)).astype("float32"))
    few = {"steps": 3, "batch_size": 8, "data_dir": str(tmp_path / "a.npy"), "sample_every": 0}
    train_run("array", few, tmp_path / "run", False, QUIET, time.perf_counter())
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=(100, 3)).astype("float32"))
    with pytest.raises(ModelError, match="was trained on other data"):
        train_run("array", {**few, "steps": 5}, tmp_path / "run", False, QUIET, time.perf_counter())


def test_where_the_data_are_is_remembered_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((4, 3), "float32"))
    assert plan("array", {"data_dir": "a.npy"}, tmp_path / "run", False)[0].data_dir == str(tmp_path / "a.npy")
    assert plan("array", {"data_dir": "b.npy"}, tmp_path / "run", False)[0].data_dir == "b.npy"  # for the message


def test_arrays_of_images_get_a_unet_and_odd_ones_train(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (40, 9, 13, 3), dtype="uint8"))
    few = {"steps": 2, "batch_size": 8, "data_dir": str(tmp_path / "a.npy"), "sample_every": 0}
    train_run("array", few, tmp_path / "run", False, QUIET, time.perf_counter())
    model = ud.load(tmp_path / "run")
    assert model.parts["network"]["kind"] == "unet"
    assert model.sample(2, steps=2).shape == (2, 3, 9, 13)


def test_an_explosion_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    folder = trained(tmp_path / "run")
    good = tensors(folder)
    recipe = make_recipe(plan("toy", {"steps": 60}, folder, False)[0].model_dump(mode="json"), {})
    trainer, _, _, held_out = prepare(recipe, folder)
    with torch.no_grad():
        next(trainer.denoiser.parameters()).fill_(math.inf)
    with pytest.raises(UndriftError, match=r"step 31: the loss is .*last good state, of step 30, is kept.*learning_rate=0.0007"):
        run(Session(trainer, held_out), QUIET)
    after = tensors(folder)
    assert all(torch.equal(good[k], after[k]) for k in good)


def test_labels_are_dropped_per_sample_at_the_rate(tmp_path):
    seen = []
    recipe, _ = plan("toy", {**SMALL, "label_dropout": 0.25, "batch_size": 400, "steps": 5}, tmp_path / "run", False)
    trainer, *_ = prepare(recipe, tmp_path / "run")
    inner = trainer.denoiser.net.forward

    def spy(x, level, cond):
        seen.append(cond)
        return inner(x, level, cond)

    trainer.denoiser.net.forward = spy
    for _ in trainer.run():
        pass
    dropped = torch.stack(seen) == -1
    assert abs(dropped.double().mean() - 0.25) < 5 * (0.25 * 0.75 / 2000) ** 0.5
    assert not torch.equal(dropped[0], dropped[1])


def test_minutes_end_a_run(tmp_path):
    start = time.perf_counter()
    trained(tmp_path / "run", steps=None, minutes=0.02)
    assert 0.02 * 60 <= ud.load(tmp_path / "run").trained["seconds"] < time.perf_counter() - start + 1


def test_one_training_at_a_time_in_a_folder(tmp_path):
    recipe, _ = plan("toy", SMALL, tmp_path / "run", False)
    trainer, *_ = prepare(recipe, tmp_path / "run")
    with pytest.raises(OutputError, match="another training is at work"):
        trained(tmp_path / "run")
    trainer.lock.close()
    trained(tmp_path / "run")


def test_fresh_moves_only_runs_and_only_when_the_data_are_good(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    with pytest.raises(OutputError, match="holds no run"):
        train_run("toy", SMALL, tmp_path / "photos", True, QUIET, time.perf_counter())
    folder = trained(tmp_path / "run")
    with pytest.raises(UndriftError, match="data-dir"):
        train_run("mnist", {}, folder, True, QUIET, time.perf_counter())
    assert ud.load(folder).trained["steps"] == 30
    assert not (tmp_path / "run.1").exists()


def test_fresh_does_not_take_the_folder_from_a_training_at_work(tmp_path):
    recipe, _ = plan("toy", SMALL, tmp_path / "run", False)
    trainer, *_ = prepare(recipe, tmp_path / "run")
    with pytest.raises(OutputError, match="another training is at work"):
        train_run("toy", SMALL, tmp_path / "run", True, QUIET, time.perf_counter())
    trainer.lock.close()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_that_cannot_begin_leaves_the_place_as_it_was(tmp_path, monkeypatch):
    """Also where it is refused at the very end: no folder, an empty one stays empty, and a run that was put aside is back."""
    folder = trained(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    if not torch.cuda.is_available():
        with pytest.raises(UndriftError, match="no GPU"):
            trained(tmp_path / "new", device="cuda")
    assert not (tmp_path / "new").exists()

    def refuse(*_):
        raise RecipeError("not like this")

    monkeypatch.setattr("undrift.training.setup.Trainer", refuse)
    for name in ("new", "empty", "run"):
        with pytest.raises(RecipeError, match="not like this"):
            train_run("toy", SMALL, tmp_path / name, True, QUIET, time.perf_counter())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "run"] and not list((tmp_path / "empty").iterdir())
    assert ud.load(folder).trained["steps"] == 30


def test_a_change_that_is_refused_is_not_remembered(tmp_path):
    folder = trained(tmp_path / "run")
    for wrong, message in (({"accumulate": 999}, "cannot be divided"), ({"recompute": True}, "is for the blocks of a unet")):
        with pytest.raises(UndriftError, match=message):
            trained(folder, **wrong)
    train_run("toy", {"steps": 31}, folder, False, QUIET, time.perf_counter())
    assert ud.load(folder).trained["steps"] == 31


def test_no_gpu_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UndriftError, match="torch sees no GPU"):
        trained(tmp_path / "run", device="cuda")
