"""Real processes on one machine, started as a launcher would."""

import json
import os
import socket
import subprocess
import sys

import numpy as np

from forked import Forked

TRAIN = [
    "train",
    "toy",
    "data.name=mixture",
    "data.n=1000",
    "network.width=32",
    "batch_size=50",
    "monitor_every=20",
    "quality_every=0",
    "sample_every=0",
    "warmup=5",
    "decay_from=1",
    "log_every=1",
    "device=cpu",
]


PORTS = []  # held for as long as the tests run: a port that was given back could be another's by the time it is wanted


def free_port():
    """A port that nobody else is given. TCPStore, like this probe, lets others bind the port too, so that it can listen there."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("", 0))
    PORTS.append(probe)
    return probe.getsockname()[1]


def start(n, out, *options):
    """So many processes that train one run."""
    return command(n, *TRAIN, "--out", out, *options)


def command(n, *words, program=("-m", "undrift"), launched=None, fresh=False):
    """A command in so many processes, in the environment that torchrun makes, or in one that `launched(rank)` names.

    They are forked from one that has torch loaded; `fresh` ones start as from a shell, where that is what is tested.
    """
    port = free_port()
    told = {"WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    usual = lambda rank: {**told, "RANK": rank, "LOCAL_RANK": rank}  # noqa: E731
    envs = [
        {**os.environ, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in (launched or usual)(rank).items()}} for rank in range(n)
    ]
    if not fresh and sys.platform.startswith("linux") and (program == ("-m", "undrift") or program[0] == "-c"):
        return [Forked(words, env, program[1] if program[0] == "-c" else None) for env in envs]
    words = [sys.executable, *program, *map(str, words)]
    return [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for env in envs]


def ended(started):
    """`(code, output, error)` of each; none outlives this."""
    try:
        return [(p.returncode, *text) for p, text in [(p, p.communicate(timeout=300)) for p in started]]
    finally:
        for process in started:
            process.kill()


def assert_well(ends):
    """All have ended well."""
    assert not any(code for code, *_ in ends), "\n".join(f"process {i}: {code}\n{err}" for i, (code, _, err) in enumerate(ends))


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def losses(out):
    return np.array([r["batch_loss"] for r in log(out) if "batch_loss" in r])
