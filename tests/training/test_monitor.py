"""The monitor asks the same questions every time, its floors are floors, and its verdicts say what is the case."""

import json
import math
import runpy
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from rich.console import Console

import undrift as ud
from undrift.cli import main
from undrift.data import mixture_law
from undrift.error import RecipeError, UndriftError
from undrift.recipe.read import load_recipe, read_recipe
from undrift.run.log import read_log
from undrift.training.curves import spark
from undrift.training.divergence import Diverged
from undrift.training.loggers import Boards, flat
from undrift.training.monitor import Monitor, Outputs
from undrift.training.quality import Quality
from undrift.training.session import Session, run, train_run
from undrift.training.setup import plan, prepare
from undrift.training.status import status_of

ROOT = Path(__file__).parents[2]
SMALL = {
    "network": {"kind": "mlp", "width": 32, "depth": 2}, "steps": 40, "batch_size": 32, "sample_every": 0, "quality_every": 0,
    "monitor_every": 10, "monitor_examples": 48, "checkpoint_every": 20, "log_every": 10, "data.n": 400, "snapshots": 0,
    "device": "cpu",
}  # fmt: skip
QUIET = Console(quiet=True)


def trained(folder, name="toy", console=QUIET, **overrides):
    kept = SMALL if name == "toy" else {k: v for k, v in SMALL.items() if k != "data.n"}
    train_run(name, {**kept, **overrides}, folder, False, console, time.perf_counter())
    return folder


def trainer_of(folder, name="toy", **overrides):
    kept = SMALL if name == "toy" else {k: v for k, v in SMALL.items() if k != "data.n"}
    recipe, _ = plan(name, {**kept, **overrides}, folder, False)
    trainer, _, _, held_out = prepare(recipe, folder)
    return trainer, held_out


def looks(folder):
    return [r for r in read_log(folder) if "held_out" in r]


def test_the_same_weights_get_the_same_look_whatever_the_batch(tmp_path):
    trainer, held_out = trainer_of(tmp_path / "a")
    first, again = Monitor(trainer, held_out).look(), Monitor(trainer, held_out).look()
    first.pop("clock"), again.pop("clock")
    assert first == again
    other, held_out = trainer_of(tmp_path / "b", batch_size=7)
    torch.testing.assert_close(Monitor(other, held_out).losses(Monitor(other, held_out).held_out).mean().item(), first["held_out"],
                               rtol=1e-5, atol=0)  # fmt: skip
    assert sum(row[2] for row in first["levels"]) == 48
    total = sum(row[2] * row[3] for row in first["levels"]) / 48
    assert total == pytest.approx(first["held_out"], rel=1e-5)


def test_looking_changes_nothing(tmp_path):
    a, b = trained(tmp_path / "a"), trained(tmp_path / "b", monitor_every=7)
    one, two = ud.load(a).denoiser.state_dict(), ud.load(b).denoiser.state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_held_out_examples_are_not_trained_on(tmp_path):
    trainer, held_out = trainer_of(tmp_path / "a")
    monitor = Monitor(trainer, held_out)
    trained_on = trainer.data.spec.to_model(trainer.data.raw())
    assert (monitor.trained_on.x0[:, None] == trained_on).all(-1).any(1).all()
    assert not (monitor.held_out.x0[:, None] == trained_on).all(-1).any()


def test_the_memoriser_is_the_floor_on_trained_examples_and_poor_on_others(tmp_path):
    """Of all denoisers the empirical one has the least loss over the training examples; the law the least over fresh ones."""
    trainer, held_out = trainer_of(
        tmp_path / "a", **{"data.name": "mixture", "monitor_examples": 320, "held_out": 0.5, "data.n": 640}
    )
    monitor = Monitor(trainer, held_out)
    floor = monitor.floor()["floor"]
    means, std = mixture_law()
    space, unit = trainer.data.spec.to_model, trainer.data.spec.scale[0]
    law = ud.GaussianMixture(space(torch.tensor(means).float()), std / unit, process=trainer.denoiser.process)
    answers = Outputs(law, trainer)
    assert floor["law"] == pytest.approx(float(monitor.losses(monitor.held_out, answers).mean()), rel=1e-5)
    assert floor["memoriser_trained_on"] < 0.98 * float(monitor.losses(monitor.trained_on, answers).mean())
    assert floor["law"] < 0.9 * floor["memoriser_held_out"]


@pytest.mark.parametrize("objective", [{"kind": "implicit"}, {"kind": "bound", "levels": 20}, {"weight": "min_snr"}])
@pytest.mark.parametrize("energy", [False, True])
def test_every_objective_is_watched(tmp_path, objective, energy):
    network = {**SMALL["network"], "energy": energy}
    folder = trained(tmp_path / "run", objective=objective, network=network, steps=10, target="noise", **{"data.n": 100})
    assert [r["step"] for r in looks(folder)] == [0, 10] and all(math.isfinite(r["held_out"]) for r in looks(folder))


def test_shuffled_labels_tell_nothing_and_true_ones_do(tmp_path):
    """Eight Gaussians whose class is where they are. 60 steps are enough to use it; shuffled, it never helps (3 standard errors)."""
    common = {
        "data.name": "mixture",
        "steps": 60,
        "learning_rate": 5e-3,
        "monitor_examples": 128,
        "label_dropout": 0.3,
        "warmup": 10,
    }
    good = trained(tmp_path / "good", **common)
    recipe = load_recipe("toy", {"warmup": 10})
    assert len(looks(good)) > 3 and status_of(read_log(good), recipe).warnings == ()
    trainer, held_out = trainer_of(tmp_path / "bad", **common)
    for part, seed in ((trainer.data, 1), (held_out, 2)):
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
        part.labels = part.labels[order.numpy()]
    run(Session(trainer, held_out), QUIET)
    status = status_of(read_log(tmp_path / "bad"), recipe)
    assert status.warnings == ("labels",) and "check the labels" in status.advice[0]


def story(held, known=None, every=100, **last):
    """Looks with these losses."""
    known = known or held
    records = [
        {"step": every * (i + 1), "held_out": h, "held_out_error": 0.01, "held_out_raw": h, "trained_on": k}
        for i, (h, k) in enumerate(zip(held, known, strict=True))
    ]
    return [*records, {"step": every * len(held), **last}] if last else records


def verdict(records, **overrides):
    return status_of(records, load_recipe("toy", overrides))


def test_verdicts_on_made_curves():
    assert verdict([]).verdict == verdict(story([1.0, 0.9])).verdict == "too early to say"
    early = verdict(story([1.0, 0.9, 0.8, 0.7], every=40))
    assert early.verdict == "too early to say" and early.advice == ("wait",)  # the rate has only just warmed up
    over = verdict([*story([1.0, 0.9, 0.8, 0.7], every=40), {"step": 120, "ended": "its end"}])
    assert over.advice[0].startswith("the run is over: go on with more steps, at least steps=")  # nothing comes of waiting
    falling = [2.0 * 0.9**i for i in range(10)]
    assert verdict(story(falling)).verdict == "learning"
    assert "steps=2000" in verdict(story(falling, ended="its end")).advice[0]
    assert verdict(story([1.0, 0.6] + [0.501, 0.5] * 4)).verdict == "converged"
    # Points in the plane: all that can be learnt is a few per cent of the loss, and more than half of it is learnt in the last half.
    slow = [{**r, "step": r["step"] - 100} for r in story([1.0, 0.998, 0.996, 0.994, 0.99, 0.985, 0.981, 0.978, 0.975])]
    found = verdict(slow)
    assert found.verdict == "learning" and "60 % of all that was learnt so far" in found.because[0]
    flat = [{**r, "step": r["step"] - 100} for r in story([1.0, 0.98, *[0.975] * 7])]
    assert verdict(flat).verdict == "converged"
    at_the_law = [{"step": 0, "floor": {"law": falling[-1] / 1.01}}, *story(falling)]
    assert verdict(at_the_law).verdict == "converged" and "the law itself" in verdict(at_the_law).because[0]
    rising, known = [1.0, 0.7, 0.6, 0.65, 0.7, 0.8], [1.0, 0.7, 0.55, 0.4, 0.3, 0.2]
    found = verdict([{"step": 0, "floor": {"memoriser_trained_on": 0.1}}, *story(rising, known)])
    assert found.verdict == "memorising" and "at step 300" in found.because[0]
    assert found.figures["memorised"] == pytest.approx((0.8 - 0.2) / (0.8 - 0.1))
    assert verdict(story(rising, rising)).verdict != "memorising"  # training suffers as well: that is something else
    assert verdict(story([0.5, 0.5, 0.5, 0.505, 0.509], known[:5])).verdict == "converged"  # too little to call
    noisy = [{**r, "held_out_error": 0.5} for r in story(rising, known)]  # so few examples that it may be chance
    assert verdict(noisy).verdict == "converged"
    exploded = [{"step": 50, "loss": 0.3}, {"step": 100, "loss": 1.2}]
    assert verdict(exploded).verdict == "diverged"
    assert verdict([{"step": 100, "loss": None}]).verdict == "diverged"
    stopped = story(falling, diverged={"what": "the loss is nan", "log_snr": -1.0, "layer": "net.body.0", "of": "output"})
    assert "layer net.body.0" in verdict(stopped).because[0] and "learning_rate=0.0007" in verdict(stopped).advice[0]
    assert "monitor_every=0" in verdict([{"step": 100, "loss": 1.0}], monitor_every=0).because[0]


@pytest.mark.parametrize("name", ["underfit", "diverging"])
def test_two_of_the_made_cases(name, tmp_path):
    """The others take longer: python bench/verdicts.py."""
    assert runpy.run_path(str(ROOT / "bench" / "verdicts.py"))["case"](name, tmp_path)


def test_patience_stops_and_the_model_is_the_best(tmp_path, capsys):
    """A rate so high that the loss soon gets worse."""
    options = {"steps": 4000, "patience": 3, "learning_rate": 0.05, "checkpoint_every": 10, "warmup": 0, "ema_halflife": 100}
    folder = trained(tmp_path / "run", **options)
    seen = {r["step"]: r["held_out"] for r in looks(folder)}
    last, best = max(seen), min(seen, key=seen.get)
    assert list(seen).index(last) - list(seen).index(best) == 3 and last < 4000
    model = ud.load(folder)
    assert model.trained["weights_of_step"] == best and model.trained["steps"] == last
    assert read_log(folder)[-1]["ended"] == "no better held-out loss for 3 looks"
    trained(folder, console=Console(width=300), **options)
    assert f"is trained to its end ({last} steps; no better held-out loss for 3 looks)" in capsys.readouterr().out


def test_training_until_converged(tmp_path):
    folder = trained(tmp_path / "run", steps=100_000, until="converged", learning_rate=5e-3, monitor_every=50)
    assert read_log(folder)[-1]["ended"] in ("the verdict is converged", "the verdict is memorising")
    assert 200 <= read_log(folder)[-1]["step"] < 5000
    with pytest.raises(RecipeError, match="go by the held-out loss; give monitor_every"):
        load_recipe("toy", {"patience": 3, "monitor_every": 0})


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_nan_is_traced_to_its_layer_and_its_noise_level(tmp_path, way):
    folder = trained(tmp_path / "run")
    trainer, held_out = trainer_of(folder, steps=60)
    names = [name for name, m in trainer.denoiser.named_modules() if isinstance(m, torch.nn.Linear)]
    layer = dict(trainer.denoiser.named_modules())[names[1]]
    if way == "forward":
        with torch.no_grad():
            layer.weight[0, 0] = math.nan
        message = rf"step 41: the loss is nan.*worst at log-SNR -?\d+\.\d.*first output that is not finite is that of layer {names[1]}\."
    else:
        layer.weight.register_hook(lambda slope: slope / 0)
        message = rf"the gradient norm (nan|inf).*first gradient that is not finite is that of layer {names[1]}\.weight"
    with pytest.raises(Diverged, match=message) as caught:
        run(Session(trainer, held_out), QUIET)
    trainer.lock.close()
    assert "the last good state, of step 40, is kept" in str(caught.value) and "learning_rate=0.0007" in str(caught.value)
    assert status_of(read_log(folder), trainer.settings).verdict == "diverged"
    trained(folder, steps=60, learning_rate=7e-4)  # goes on from the good state
    assert ud.load(folder).trained["steps"] == 60 and not any("diverged" in r for r in read_log(folder))


def test_an_explosion_is_stopped_and_states_from_within_it_are_put_aside(tmp_path, monkeypatch):
    trainer, held_out = trainer_of(tmp_path / "run", steps=400, checkpoint_every=2, log_every=1, monitor_every=1000, keep=50)
    step = trainer.step

    def worse(number, rate):
        loss, norm = step(number, rate)
        return (loss * 3.0 ** (number - 40) if number > 40 else loss), norm

    monkeypatch.setattr(trainer, "step", worse)
    with pytest.raises(
        Diverged, match=r"the loss has exploded: .*its lowest was .*The run was stopped and the last good state, of step (\d+)"
    ):
        run(Session(trainer, held_out), QUIET)
    losses = {r["step"]: r["loss"] for r in read_log(tmp_path / "run") if "loss" in r}
    lowest = min(v for s, v in losses.items() if s > 20)
    kept = sorted(int(p.stem[5:]) for p in (tmp_path / "run" / "state").glob("step-*.safetensors"))
    aside = [int(p.stem[5:]) for p in (tmp_path / "run" / "state").glob("step-*.exploded")]
    assert ud.load(tmp_path / "run").trained["steps"] == max(kept)
    assert aside and min(aside) > max(kept) and losses[max(kept)] <= 3 * lowest * 1.001 < losses[min(aside)]


def test_a_look_that_is_worse_than_nothing_stops_the_run(tmp_path):
    with pytest.raises(Diverged, match=r"step \d+: the held-out loss is .*, before the first step it was"):
        trained(tmp_path / "run", steps=200, learning_rate=20.0, warmup=0, monitor_every=5)


def test_one_held_out_example_is_judged_without_a_standard_error(tmp_path, recwarn):
    """It moves by chance, so it shows neither memorising nor whether the labels mean anything."""
    folder = trained(tmp_path / "run", steps=60, warmup=1, **{"data.n": 5, "data.name": "mixture"})
    assert len(looks(folder)) > 3 and looks(folder)[-1]["held_out_error"] is None
    assert status_of(read_log(folder), load_recipe("toy", {"warmup": 1})).warnings == ()
    assert not any("std()" in str(w.message) for w in recwarn)
    rising = [{**r, "held_out_error": None} for r in story([1.0, 0.7, 0.6, 0.65, 0.7, 0.8], [1.0, 0.7, 0.55, 0.4, 0.3, 0.2])]
    assert verdict(rising).verdict == "converged"


def test_quality_of_samples_now_and_then(tmp_path):
    folder = trained(tmp_path / "run", steps=20, quality_every=20)
    (found,) = [r["quality"] for r in read_log(folder) if "quality" in r]
    assert found["energy_distance"] > 3 * abs(found["held_out_examples"])  # after 20 steps it draws noise; after 300, it does not
    assert "recognised" not in found


def test_quality_asks_the_judge_that_the_run_keeps(judged_copy):
    trainer, _, _, held_out = prepare(read_recipe(judged_copy / "config.yaml"), judged_copy)
    found = Quality(trainer, held_out).measure()["quality"]
    assert 0 <= found["recognised"] < 0.5 and found["energy_distance"] > 0
    (judged_copy / "classifier.safetensors").unlink()
    assert "recognised" not in Quality(trainer, held_out).measure()["quality"]


def test_status_of_a_run(tmp_path, capsys):
    folder = trained(tmp_path / "run")
    with open(folder / "log.jsonl", "a") as handle:
        handle.write('{"step": 45, "lo')  # a training at work is in the middle of a line
    assert main(["status", str(folder), "--out", str(tmp_path / "curves.png")]) == 0
    said = capsys.readouterr().out
    for word in (
        "step 40, of 40 steps",
        "verdict: ",
        "held out, raw",
        "by noise level",
        "remembering all",
        "gradient norm",
        "MiB",
    ):
        assert word in said
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert main(["status", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "too early to say" and found["figures"]["step"] == 40
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert spark([0.0, 1.0, 2.0, 3.0], 0.0, 3.0) == "▁▃▆█" and spark([1.0], 1.0, 1.0) == "▁"


def test_a_missing_board_is_one_line_before_any_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("undrift.training.setup.load_split", lambda *_, **__: pytest.fail("the data come first"))
    for module, name in (("torch.utils.tensorboard", "tensorboard"), ("wandb", "wandb")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UndriftError, match=f"{name}=true needs the package {name}: pip install {name}"):
            trained(tmp_path / name, **{name: True})
        assert not (tmp_path / name).exists()


def test_boards_get_every_number(tmp_path, monkeypatch):
    """A stand-in for Weights & Biases; TensorBoard itself where it is installed."""
    calls, closed = [], []
    fake = types.SimpleNamespace(
        init=lambda **about: types.SimpleNamespace(
            log=lambda numbers, step: calls.append((step, numbers)), finish=lambda: closed.append(about)
        )
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    folder = trained(tmp_path / "run", wandb=True)
    trained(folder, wandb=True, steps=50)
    assert len({about["id"] for about in closed}) == 1  # it goes on there too
    assert closed[0]["dir"] == str(folder) and closed[0]["config"]["steps"] == 40
    logged = {step: numbers for step, numbers in calls if "held_out" in numbers}
    assert sorted(logged) == [0, 10, 20, 30, 40, 50]
    assert logged[20]["held_out"] == next(r["held_out"] for r in looks(folder) if r["step"] == 20)
    assert flat({"step": 1, "levels": [[None, -4.0, 5, 0.1, None, 0.2]]}) == {
        "step": 1, "levels._-4.held_out": 0.1, "levels._-4.trained_on": 0.2,
    }  # fmt: skip


def test_tensorboard_s_events_can_be_read_back(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = trained(tmp_path / "run", tensorboard=True)
    trained(folder, tensorboard=True, steps=50)
    events = reader.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    steps = [e.step for e in events.Scalars("held_out")]
    assert steps == [0, 10, 20, 30, 40, 50]
    assert events.Scalars("held_out")[2].value == pytest.approx(next(r["held_out"] for r in looks(folder) if r["step"] == 20))


def test_a_board_that_is_not_asked_for_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with Boards(load_recipe("toy"), tmp_path, 0) as boards:
        boards.add({"step": 1, "loss": 1.0})
