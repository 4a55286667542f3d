"""Averages of any length, made after the training, against averages that were tracked all along."""

import math
import time

import pytest
import torch
from rich.console import Console

import undrift as ud
from undrift.cli import main
from undrift.model_file import save_sampling
from undrift.run.log import read_log
from undrift.run.power_averages import TRACKED, Profile, coefficients, combine, gamma_of, product, read_snapshots, snapshot_paths
from undrift.training.averages import Candidate, adopt, candidates, settled
from undrift.training.ema import PowerEMA
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare
from undrift.training.snapshots import Snapshots


def sigma_rel(gamma):
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))  # eq. 126


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_the_power_of_a_length(length):
    assert sigma_rel(gamma_of(length)) == pytest.approx(length, rel=1e-9)
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.01) and gamma_of(0.10) == pytest.approx(6.94, abs=0.01)  # sec. 3.1
    with pytest.raises(ValueError, match="share of the run"):
        gamma_of(0.3)


def test_the_weights_of_a_power_average_are_the_power_s_integral():
    module, gamma, steps = torch.nn.Linear(1, 1, bias=False).double(), 3.7, 40
    for j in range(1, steps + 1):  # an impulse at step j reads off the weight of step j
        average = PowerEMA(module, gamma)
        average.weights["weight"].zero_()
        for k in range(steps):
            with torch.no_grad():
                module.weight.fill_(1.0 if k + 1 == j else 0.0)
            average.update(module, k, 1)
        want = (j / steps) ** (gamma + 1) - ((j - 1) / steps) ** (gamma + 1)
        assert average.weights["weight"].item() == pytest.approx(want, abs=1e-12)


def test_the_product_of_profiles_is_their_integral():
    a, b = Profile(70, 5.0), Profile(100, 2.5)
    k = (torch.arange(70_000, dtype=torch.float64) + 0.5) / 1000
    density = [(p.gamma + 1) * k**p.gamma / p.step ** (p.gamma + 1) for p in (a, b)]
    assert product(a, b) == product(b, a) == pytest.approx(float((density[0] * density[1]).sum() / 1000), rel=1e-6)


def test_a_known_profile_is_itself():
    known = [Profile(s, gamma_of(length)) for s in (64, 128, 192) for length in TRACKED.values()]
    mix, missed = coefficients(known, known[3])
    assert torch.allclose(mix, torch.eye(6, dtype=torch.float64)[3], atol=1e-6) and missed < 1e-4


def test_post_hoc_averages_are_those_that_would_have_been_tracked(tmp_path):
    """Weights that wander, 2,000 steps: the mixture is 20 to 1,000 times nearer to the tracked average than that is to the weights."""
    torch.manual_seed(0)
    module = torch.nn.Linear(30, 30)
    lengths = (0.03, 0.07, 0.14, 0.2)
    snapshots = Snapshots(module, tmp_path, 16)
    direct = {length: PowerEMA(module, gamma_of(length)) for length in lengths}
    early = {}
    for step in range(2000):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.02 * torch.randn_like(p))
        for average in [*snapshots.averages.values(), *direct.values()]:
            average.update(module, step, 1)
        snapshots.take(step + 1)
        if step + 1 == 1500:  # not a step of which there is a snapshot
            early = {length: average.weights["weight"].clone() for length, average in direct.items()}
    assert 8 <= len(snapshot_paths(tmp_path)) <= 16
    kept, notes = read_snapshots(tmp_path, 2000)
    assert not notes
    kept |= {Profile(2000, gamma_of(s)): snapshots.averages[name].weights for name, s in TRACKED.items()}
    for length in lengths:
        weights, missed = combine(kept, Profile(2000, gamma_of(length)))
        want = direct[length].weights["weight"]
        error = (weights["weight"] - want).norm() / (module.weight - want).norm()
        assert error < 0.05 and missed < 0.1
        then, _ = combine(kept, Profile(1500, gamma_of(length)))
        assert (then["weight"] - early[length]).norm() < 0.2 * (module.weight - early[length]).norm()


def test_snapshots_are_evenly_spaced_and_few(tmp_path):
    module = torch.nn.Linear(2, 2)
    snapshots = Snapshots(module, tmp_path, 4)
    for step in range(1, 200):
        snapshots.take(step)
    assert list(snapshot_paths(tmp_path)) == [64, 128, 192]
    (tmp_path / "state" / "average-00000128.safetensors").write_bytes(b"half")
    kept, notes = read_snapshots(tmp_path, 199)
    assert sorted({p.step for p in kept}) == [64, 192] and "average-00000128.safetensors is damaged" in notes[0]
    assert all(w["weight"].dtype == torch.float16 for w in kept.values())
    assert not Snapshots(module, tmp_path, 0).averages


def losses_of(said):
    """Each candidate's name and loss, of the lines of `undrift ema`."""
    return {line[:30].strip(): float(line[30:].split()[0]) for line in said if line.startswith("  ")}


FEW = {"network": {"kind": "mlp", "width": 32, "depth": 2}, "steps": 150, "batch_size": 32, "data.n": 400, "monitor_every": 25,
       "quality_every": 0, "checkpoint_every": 50, "learning_rate": 0.01, "decay_from": 1.0, "device": "cpu"}  # fmt: skip


def test_undrift_ema_makes_the_best_average_the_model(tmp_path, capsys):
    """A tracked average of one example is the raw weights, which at this rate are clearly worse than an average."""
    few = FEW | {"ema_halflife": 1, "learning_rate": 0.1, "data.n": 2000}
    run = tmp_path / "run"
    train_run("toy", few, run, False, Console(quiet=True), time.perf_counter())
    before = ud.load(run).denoiser.state_dict()
    save_sampling(run, ud.load(run).sampling.model_copy(update={"steps": 7}))  # as `undrift frontier` does
    assert main(["ema", str(run), "--no-save"]) == 0
    assert all(torch.equal(v, ud.load(run).denoiser.state_dict()[k]) for k, v in before.items())
    assert capsys.readouterr().out.splitlines()[-1] == "to use it: run this again without --no-save"
    assert main(["ema", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    losses = losses_of(said)
    best = min(losses, key=losses.get)
    assert f"the model now samples from: {best}" in said[-1]
    assert ud.load(run).sampling.steps == 7
    average = ud.load(run).trained["average"]
    assert average["held_out"] == pytest.approx(losses[best], abs=1e-5)
    assert any(not torch.equal(v, ud.load(run).denoiser.state_dict()[k]) for k, v in before.items())
    assert main(["ema", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"what the model samples from, {best}, is the best; nothing is changed"
    # The training goes on from its state, and its model is the tracked average again.
    train_run("toy", {**few, "steps": 160}, run, False, Console(quiet=True), time.perf_counter())
    assert "average" not in ud.load(run).trained and read_log(run)[-1]["step"] == 160


def test_an_average_within_the_error_of_the_best_stays(tmp_path, capsys):
    run = tmp_path / "run"
    train_run("toy", FEW, run, False, Console(quiet=True), time.perf_counter())
    before = [(run / name).read_bytes() for name in ("model.json", "model.safetensors")]
    assert main(["ema", str(run)]) == 0
    *rows, last = capsys.readouterr().out.splitlines()
    losses = losses_of(rows)
    best = min(losses, key=losses.get)
    assert best != "average as tracked" and "(in use)" in next(row for row in rows if "average as tracked" in row)
    wanted = f"what the model samples from, average as tracked, is within the error of the best, {best}; nothing is changed"
    assert last == wanted
    assert [(run / name).read_bytes() for name in ("model.json", "model.safetensors")] == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_is_settled_does_not_depend_on_the_default_dtype(dtype):
    """Losses that differ in the fourth digit, on the same questions: for sure, or within the error."""
    losses = 1000 + torch.sin(torch.arange(100, dtype=torch.float64))
    wobble = 0.1 * torch.cos(7 * torch.arange(100, dtype=torch.float64))
    torch.set_default_dtype(dtype)
    try:
        now, sure, tied = (
            Candidate("now", losses, present=True),
            Candidate("sure", losses - 0.01),
            Candidate("tied", losses - 0.005 + wobble),
        )
        assert settled([now, sure]) == (sure, sure) and settled([now, tied]) == (tied, now)
        gap, error = now.against(tied)
        assert gap == pytest.approx(0.005 - float(wobble.mean())) and error == pytest.approx(float(wobble.std()) / 10)
        assert settled([now, Candidate("broken", losses * math.nan)]) == (now, now)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_model_that_is_no_candidate_is_one_as_it_is(tmp_path, capsys):
    """Weights that somebody has put there: far worse, so an average takes their place; and it is said what they were."""
    run = tmp_path / "run"
    train_run("toy", FEW, run, False, Console(quiet=True), time.perf_counter())
    trainer, _, _, held_out = prepare(plan("toy", {}, run, False)[0], run)
    worse = {k: v + 0.5 for k, v in trainer.ema.items()}
    adopt(trainer, Candidate("somebody's", torch.zeros(2), weights=worse))
    found, _ = candidates(trainer, held_out)
    trainer.lock.close()
    assert [c.name for c in found if c.present] == ["as the model is now"] == [found[-1].name]
    best, chosen = settled(found)
    assert best is chosen and not chosen.present
    assert main(["ema", str(run)]) == 0
    assert f"the model now samples from: {best.name}" in capsys.readouterr().out


def test_a_run_without_snapshots_says_so(tmp_path, capsys):
    few = {"network": {"kind": "mlp", "width": 8, "depth": 1}, "steps": 3, "batch_size": 8, "data.n": 100, "snapshots": 0}
    train_run("toy", few, tmp_path / "run", False, Console(quiet=True), time.perf_counter())
    assert main(["ema", str(tmp_path / "run")]) == 2
    assert "keeps no snapshots of its averages yet" in capsys.readouterr().err
