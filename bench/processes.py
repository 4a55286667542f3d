"""Does a training in several processes follow the one of a single process, and what does the company cost?

    python bench/processes.py [--steps 300] [--recipe digits] [--processes 2]

The same recipe by one process, by several under `torchrun`, by several that keep a part of the network each (`shard=true`), and by one,
several and one again, a third of the steps each. Printed: the largest relative difference of a batch's loss and of a held-out loss
from those of one process, the largest difference of a weight over the largest weight, and the seconds of the log (on one machine the
processes share its cores, so this is the price and not the gain).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from undrift.run.log import read_log


def train(n, out, recipe, steps, look, *more):
    start = [sys.executable, "-m"] + (["torch.distributed.run", "--standalone", f"--nproc_per_node={n}", "-m"] if n > 1 else [])
    words = [
        "train",
        recipe,
        "--out",
        str(out),
        f"steps={steps}",
        "decay_from=1",
        f"monitor_every={look}",
        "log_every=1",
        "sample_every=0",
        "quality_every=0",
        *more,
    ]
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    subprocess.run([*start, "undrift", *words], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": threads})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    third, n = options.steps // 3, options.processes
    folder = Path(tempfile.mkdtemp())
    plans = {"1": ([1], ()), f"{n}": ([n], ()), f"{n}, in parts": ([n], ("shard=true",)), f"1, {n}, 1": ([1, n, 1], ())}
    print(
        f"{options.recipe}, {3 * third} steps\n\n| processes | batch loss | held out | weights | seconds |\n|---|---|---|---|---|"
    )
    try:
        seen = {}
        for name, (plan, more) in plans.items():
            out = folder / name.replace(", ", "-").replace(" ", "-")
            for i, size in enumerate(plan):
                train(size, out, options.recipe, third * (3 if len(plan) == 1 else i + 1), third, *more)
            log, weights = read_log(out), load_file(out / "model.safetensors")
            curve, held = ([r[key] for r in log if key in r] for key in ("batch_loss", "held_out"))
            seen[name] = (torch.tensor(curve), torch.tensor(held), torch.cat([w.flatten().double() for w in weights.values()]))
            one = seen["1"]
            apart = [float(((a - b) / b).abs().max()) for a, b in zip(seen[name][:2], one[:2], strict=True)]
            apart.append(float((seen[name][2] - one[2]).abs().max() / one[2].abs().max()))
            seconds = [r["clock"]["seconds"] for r in log if "seconds" in r.get("clock", {})][-1]
            print(f"| {name} | " + " | ".join(f"{a:.1e}" for a in apart) + f" | {seconds:.1f} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
