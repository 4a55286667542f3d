"""Does a run survive being killed? SIGKILL at random moments, and the result compared bit for bit with a run never killed.

    python bench/kill.py                 50 kills in one run of the digits, some while a state is being written: about two minutes
    python bench/kill.py --kills 3 --steps 60 --recipe toy

Each session is a process of its own (forked, so that torch is imported once) that runs `undrift train` and is killed with SIGKILL:
two in three a random time after a random step, one in three the moment that a temporary file of a state is seen on the disk. When all kills are
spent the run is left to end. Compared are weights, average, optimiser, the averages of other lengths, and every line of the log
but for its clock. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from undrift.run.groups import FOLDER, read_groups
from undrift.run.log import read_log
from undrift.run.power_averages import snapshot_paths
from undrift.training.checkpoint import path_of, steps_of
from undrift.training.session import train_run

OFTEN = {
    "batch_size": 16, "checkpoint_every": 5, "log_every": 3, "monitor_every": 7, "monitor_examples": 32, "quality_every": 0,
    "sample_every": 0, "device": "cpu",
}  # fmt: skip
TINY = {
    "digits": {**OFTEN, "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 32}},
    "toy": {**OFTEN, "network": {"kind": "mlp", "width": 16, "depth": 1}, "data.n": 300},
}


def session(recipe: str, folder: Path, steps: int) -> int:
    """Start `undrift train` in a process of its own; returns its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train_run(recipe, {**TINY[recipe], "steps": steps}, folder, False, Console(quiet=True), time.perf_counter())
            code = 0
        except Exception as error:
            print(f"a session failed: {error}")
        finally:
            os._exit(code)
    return child


def killed(child: int, folder: Path, target: int, delay: float, in_a_save: bool) -> str | None:
    """Kill a session: some time after it has logged a step, or in the middle of a save. Returns when, or None if it ended before."""
    while True:
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        if in_a_save and next((folder / FOLDER).glob(".step-*.tmp"), None):
            when = "while a state was being written"
            break
        if not in_a_save and at(folder) >= target:
            time.sleep(delay)
            when = "at a random moment"
            break
        time.sleep(0.0002 if in_a_save else 0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return when


def at(folder: Path) -> int:
    """The last step that a run has logged."""
    return max((record["step"] for record in read_log(folder)), default=0)


def differences(a: Path, b: Path) -> list[str]:
    """What is not the same in two runs: the newest states, all snapshots of averages, the models, the logs."""
    found = []
    if steps_of(a)[-1] != steps_of(b)[-1] or snapshot_paths(a).keys() != snapshot_paths(b).keys():
        return ["they are not equally far"]
    last = steps_of(a)[-1]
    pairs = [(path_of(a, last), path_of(b, last)), *zip(snapshot_paths(a).values(), snapshot_paths(b).values(), strict=True)]
    for one, other in pairs:
        (x, about), (y, also) = read_groups(one), read_groups(other)
        if x.keys() != y.keys() or any(not torch.equal(x[g][k], y[g][k]) for g in x for k in x[g]):
            found.append(f"{one.name}: tensors")
        if {k: v for k, v in about.items() if k != "seconds"} != {k: v for k, v in also.items() if k != "seconds"}:
            found.append(f"{one.name}: facts")
    if (a / "model.safetensors").read_bytes() != (b / "model.safetensors").read_bytes():
        found.append("model.safetensors")
    logs = [[{k: v for k, v in r.items() if k != "clock"} for r in read_log(folder)] for folder in (a, b)]
    if json.dumps(logs[0]) != json.dumps(logs[1]):
        found.append("log.jsonl")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--recipe", choices=sorted(TINY), default="digits")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="undrift-kill-"))
    whole, broken = folder / "whole", folder / "broken"
    start = time.perf_counter()
    child = session(arguments.recipe, whole, arguments.steps)
    if os.waitpid(child, 0)[1]:
        return 1
    alone = time.perf_counter() - start
    moments: list[str] = []
    reached: list[int] = []
    while len(moments) < arguments.kills:
        child = session(arguments.recipe, broken, arguments.steps)
        # Counted in steps, not in time, so that a loaded machine makes no difference: on average half of the run is left over.
        target = at(broken) + round(chance.uniform(0, 1.5 * arguments.steps / arguments.kills))
        when = killed(child, broken, target, chance.uniform(0, 0.05), len(moments) % 3 == 1)
        if when is None:
            break
        moments.append(when)
        reached.append(max(steps_of(broken), default=0))
    child = session(arguments.recipe, broken, arguments.steps)
    code = os.waitpid(child, 0)[1]
    wrong = ["the last session failed"] if code else differences(whole, broken)
    during = sum("written" in when for when in moments)
    print(f"{len(moments)} kills, {during} of them while a state was being written; {arguments.steps} steps")
    print(f"the newest state after each kill was of step {', '.join(map(str, reached))}")
    print(f"never killed: {alone:.0f} s; killed: {time.perf_counter() - start - alone:.0f} s")
    print(
        "weights, averages, optimiser, snapshots and log: "
        + (f"DIFFERENT: {', '.join(wrong)}" if wrong else "the same bit for bit")
    )
    shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
