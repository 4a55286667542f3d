"""Two real processes on one machine: the same training as one, and a clean end when one of them dies."""

import json
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import undrift
from several import TRAIN, assert_well, command, ended, free_port, log, losses, start
from undrift.distributed.processes import Processes, Waiting
from undrift.error import RecipeError
from undrift.recipe.read import parse_overrides
from undrift.tensorfile import save_tensors
from undrift.training.setup import plan, prepare


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Sixty steps by one process that never stopped."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert_well(ended(start(1, out, "steps=60")))
    return out


def assert_same_training(out, alone):
    assert len(losses(out)) == 60
    np.testing.assert_allclose(losses(out), losses(alone), rtol=2e-4)  # a batch of the wrong noise is off by tenths
    ours, theirs = load_file(out / "model.safetensors"), load_file(alone / "model.safetensors")
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=2e-4)
    held = [[r["held_out"] for r in log(o) if "held_out" in r] for o in (out, alone)]
    np.testing.assert_allclose(*held, rtol=1e-4)


def test_two_processes_follow_the_curve_of_one(alone, tmp_path):
    first, second = ended(start(2, tmp_path / "run", "steps=60", "accumulate=2", "sample_every=30"))
    assert (first[0], first[2], second) == (0, "", (0, "", ""))  # one of them speaks
    assert "2 processes" in first[1]
    assert_same_training(tmp_path / "run", alone)
    assert len(list((tmp_path / "run" / "samples").glob("step-*.png"))) == 2  # the previews were drawn by both


def test_two_processes_draw_the_samples_of_one(alone, tmp_path):
    ask = ("sample", alone, "-n", 301, "--sampler", "ancestral", "--steps", 5, "--npz")
    assert_well(ended(command(1, *ask, tmp_path / "one.npz")))
    first, second = ended(command(2, *ask, tmp_path / "two.npz"))
    assert (first[0], first[2], second) == (0, "", (0, "", ""))
    one, two = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("one", "two"))
    assert one["x"].shape == (301, 2)
    np.testing.assert_array_equal(one["labels"], two["labels"])
    np.testing.assert_allclose(one["x"], two["x"], rtol=1e-4, atol=1e-5)  # a network rounds otherwise in a batch of another size


def test_what_goes_wrong_while_drawing_is_said_once(alone, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    weights = {name: torch.full_like(x, 1e30) for name, x in load_file(run / "model.safetensors").items()}
    (run / "model.safetensors").unlink()
    mark = save_tensors(run / "model.safetensors", weights)
    about = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**about, "weights": mark}))
    first, second = ended(command(2, "sample", run, "--npz", tmp_path / "x.npz"))
    assert (first[0], second) == (2, (2, "", ""))
    assert "not finite" in first[2] and first[2].count("\n") == 1
    assert not (tmp_path / "x.npz").exists()


def test_a_command_that_shares_nothing_is_refused(alone):
    for code, _, error in ended(command(2, "info", alone)):
        assert code == 2 and "undrift info is not shared out over processes" in error


def test_torchrun_itself(alone, tmp_path):
    """Its own agent holds the store, and hands the port out."""
    out = tmp_path / "run"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "undrift")
    [(code, said, error)] = ended(command(1, *TRAIN, "--out", out, "steps=60", program=torchrun))
    assert code == 0, error
    assert "2 processes" in said
    assert_same_training(out, alone)


def test_srun(alone, tmp_path):
    """What SLURM sets for the tasks of a step, and nothing of torch's."""
    out, port = tmp_path / "run", free_port()
    slurm = {"SLURM_NTASKS": 2, "SLURM_NODELIST": "localhost", "SLURM_JOB_ID": 7, "MASTER_PORT": port}
    ends = ended(
        command(2, *TRAIN, "--out", out, "steps=60", launched=lambda i: {**slurm, "SLURM_PROCID": i, "SLURM_LOCALID": i})
    )
    assert_well(ends)
    assert "2 processes" in ends[0][1]
    assert_same_training(out, alone)


def test_a_run_goes_from_one_process_to_two_and_back(alone, tmp_path):
    out = tmp_path / "run"
    for n, steps in ((1, 20), (2, 40), (1, 60)):
        assert_well(ended(start(n, out, f"steps={steps}")))
    assert_same_training(out, alone)


THREADS = """
import os, sys
from undrift.distributed.processes import joined
import torch
with joined() as processes:
    import torch.distributed.nn.functional  # as torch's compiler does, which an optimiser imports
    processes.barrier()
here = f"/proc/{os.getpid()}/task"
print([name for task in os.listdir(here) if "gloo" in (name := open(f"{here}/{task}/comm").read())])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are listed in /proc")
def test_no_thread_of_the_group_outlives_it():
    """One that does is still at work when the interpreter is taken down, and now and then ends the process by SIGABRT."""
    ends = ended(command(2, program=("-c", THREADS), fresh=True))
    assert_well(ends)
    assert [said.strip() for _, said, _ in ends] == ["[]", "[]"]


BOMB = """
import os, sys
from undrift.cli import run
class Bomb:
    def __del__(self, abort=os.abort):
        abort()
bomb = Bomb()
run()
"""


@pytest.mark.parametrize(("n", "codes"), [(1, [-6]), (2, [0, 0])])
def test_no_fault_while_leaving_is_taken_for_a_failure(n, codes, alone, tmp_path):
    """An object that aborts the interpreter while it is taken down: alone it does, one of several processes never gets there."""
    ends = ended(
        command(n, "sample", alone, "-n", 4, "--steps", 1, "--npz", tmp_path / "x.npz", program=("-c", BOMB), fresh=True)
    )
    assert [code for code, *_ in ends] == codes
    assert "samples" in ends[0][1] and (tmp_path / "x.npz").is_file()  # what was said is not lost


def test_the_exit_code_of_a_wrong_word_is_kept():
    for code, _, error in ended(command(2, "train", "toy", "--nonsense")):
        assert code == 2 and "--nonsense" in error


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_it_goes_on(victim, tmp_path, capsys):
    out = tmp_path / "run"
    started = start(2, out, "steps=1000000", "checkpoint_every=20")
    try:
        until = time.monotonic() + 60
        while not (out / "state").is_dir() or len(list((out / "state").glob("*.safetensors"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        started[victim].send_signal(signal.SIGKILL)
        code, _, error = ended(started)[1 - victim]
    finally:
        for process in started:
            process.kill()
    assert code == 2
    assert error.startswith("undrift: another process of this run is gone") and error.count("\n") == 1
    assert error.endswith("with the same command, on any number of processes\n")
    reached = max(int(p.stem.split("-")[-1]) for p in (out / "state").glob("*.safetensors"))
    if victim == 1:
        assert f"saved at step {reached}" in error
    code, said, error = undrift(*TRAIN, "--out", out, f"steps={reached + 5}", capsys=capsys)
    assert (code, error) == (0, "")
    assert f"going on at step {reached}" in said


def test_a_mistake_is_said_once(tmp_path):
    first, second = ended(start(2, tmp_path / "run", "steps=10", "network.kind=mpl"))
    assert first[0] == second[0] == 2
    assert first[2].startswith("undrift: ") and first[2].count("\n") == 1
    assert second[1:] == ("", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("n", "size", "parts"), [(50, 1, 1), (50, 3, 1), (7, 2, 3), (64, 4, 4), (5, 5, 1)])
def test_shares_are_the_batch(n, size, parts):
    rows = [range(n)[part] for rank in range(size) for part in Processes(rank, size).share(n, parts)]
    assert [i for some in rows for i in some] == list(range(n))
    assert len(rows) == size * parts and all(rows)
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_accumulated_parts_are_the_whole_batch(tmp_path):
    """One step on the batch in seven uneven parts: loss, gradient norm and new weights are those of the undivided one."""
    words = [w for w in TRAIN[2:] if "device" not in w]
    found = []
    for parts in (1, 7):
        overrides = parse_overrides([*words, "steps=3", f"accumulate={parts}"])
        trainer, *_ = prepare(plan("toy", overrides, tmp_path / str(parts), False)[0], tmp_path / str(parts))
        found.append((*trainer.step(0, 1e-3), *trainer.denoiser.parameters()))
        trainer.lock.close()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_batch_smaller_than_its_parts_is_refused(tmp_path):
    recipe = plan("toy", {"steps": 3, "batch_size": 4, "accumulate": 5}, tmp_path / "run", False)[0]
    with pytest.raises(RecipeError, match="batch_size=4 cannot be divided into 5 parts"):
        prepare(recipe, tmp_path / "run")


def wait_for(path, text, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} never held {text}")


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_process_that_is_stopped_does_not_keep_the_first_one_from_ending(alone, tmp_path, ask):
    """It is deep inside torch, waiting for an answer that does not come, and hears of the signal all the same."""
    out = tmp_path / "run"
    first, second = start(2, out, "steps=100000", "checkpoint_every=100000")
    try:
        wait_for(out / "log.jsonl", '"step": 30,')
        second.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        first.send_signal(ask)
        begun = time.monotonic()
        said, error = first.communicate(timeout=60)
        assert time.monotonic() - begun < 20
        assert first.returncode == 130, said + error
        assert "another process of this run does not answer; the run is saved at step" in error and "Traceback" not in error
    finally:
        second.kill()
        first.kill()
        second.communicate()
    step = int(error.partition("saved at step ")[2].split()[0])
    assert step >= 30
    if ask is signal.SIGINT:  # once is enough
        assert_well(ended(start(1, out, f"steps={step + 1}")))  # it can be resumed, alone


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_one_process_stops_politely_at_any_of_the_three_signals(tmp_path, ask):
    out = tmp_path / "run"
    [process] = start(1, out, "steps=100000", "checkpoint_every=100000")
    try:
        wait_for(out / "log.jsonl", '"step": 30,')
        process.send_signal(ask)
        said, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "everything is saved" in said, said + error
    assert list((out / "state").glob("step-*.safetensors"))


def test_waiting_is_only_abandoned_while_it_lasts():
    wait = Waiting()
    assert not wait.abandon(0)  # nobody waits
    with wait:
        assert not wait.abandon(7)  # it is another wait by now
    assert wait.count == 1 and not wait.abandoned
