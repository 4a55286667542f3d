"""A data set larger than the memory that a training may have."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import write_pictures
from undrift.data import Dataset, Spec
from undrift.training.setup import measure

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from undrift.cli import main

few, many, out = sys.argv[1:4]
words = ("network.kind=unet network.widths=[8] network.blocks=1 network.embedding=16 batch_size=2 warmup=0 monitor_examples=4 "
         "monitor_every=4 checkpoint_every=4 quality_every=0 sample_every=0 log_every=1 device=cpu data.size=64").split()
def train(name, data, *more):
    return main(["train", "images", "--data-dir", data, "--out", f"{out}/{name}", *words, *more])

assert train("few", few, "steps=2") == 0  # all that is imported and set up once is so now
private = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
SIZE = len(list(Path(many).iterdir())) * 3 * 64 * 64
resource.setrlimit(resource.RLIMIT_DATA, (private + SIZE // 2,) * 2)
try:
    np.ones(SIZE, np.uint8)
    print("not limited")
except MemoryError:
    print("limited", SIZE)
assert train("many", many, "steps=8") == 0
assert train("many", many, "steps=12") == 0  # from what was decoded before
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process has of its own is told by /proc")
def test_a_data_set_that_does_not_fit_trains_from_its_cache(tmp_path):
    """Decoded, looked at, trained on and taken up again with half as much memory as the pictures take, which cannot be had at once."""
    few, many = write_pictures(tmp_path / "few", [f"{i}.png" for i in range(20)]), tmp_path / "many"
    many.mkdir()
    for i in range(10_000):
        os.link(few / f"{i % 20}.png", many / f"{i}.png")
    words = [sys.executable, "-c", LIMITED, str(few), str(many), str(tmp_path / "runs")]
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is not kept, so that what is held can be told
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **given_back})
    if "not limited" in done.stdout:
        pytest.skip("this system does not hold a process to its limit")
    assert done.returncode == 0, done.stderr
    assert "limited 122880000" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "runs" / "many" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == list(range(1, 13))
    peaks = [r["clock"]["peak_memory_mib"] for r in records if "loss" in r]
    assert 100 < peaks[0] <= peaks[7] < 20_000 and f"at most {peaks[-1]:,} MiB" in done.stdout


@pytest.mark.parametrize("shape", [(7,), (3, 700, 800)])
def test_the_spread_of_the_data_is_measured_a_few_examples_at_a_time(shape):
    x = np.random.default_rng(0).normal(3, 2, (9, *shape)).astype(np.float32)
    data = Dataset(x, None, Spec(shape, None, None, False, 0.0, 1.0), "made")
    assert measure(data) == round(float(torch.from_numpy(x).double().std()), 4)
