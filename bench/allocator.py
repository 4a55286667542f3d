"""What it brings to keep freed memory: a forward pass and a training step of the mnist recipe's U-Net, with and without.

    python bench/allocator.py [--pairs 3]

Each measurement is a process of its own, the two kinds in turn; batch 64, medians over passes, then over pairs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

import torch

from undrift.cli.allocator import keep_freed_memory
from undrift.recipe.build import build_denoiser
from undrift.recipe.options import kinds
from undrift.recipe.read import load_recipe


def timed(call, n):
    seconds = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * median(seconds[3:])


def measure():
    """Milliseconds of a forward pass and of a training step, and MiB at the peak."""
    recipe = load_recipe("mnist")
    denoiser = build_denoiser(kinds(recipe.network), kinds(recipe.process), "karras", 0.6, (1, 28, 28), 10)
    x, t, labels = torch.randn(64, 1, 28, 28), torch.linspace(0.1, 0.9, 64), torch.arange(64) % 10
    optimizer = torch.optim.AdamW(denoiser.parameters(), fused=True)

    def step():
        optimizer.zero_grad()
        denoiser.output(x, t, labels).square().mean().backward()
        optimizer.step()

    with torch.no_grad():
        forward = timed(lambda: denoiser(x, t, labels), 25)
    return forward, timed(step, 15), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--one", choices=["with", "without"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        assert options.one == "without" or keep_freed_memory()
        print(json.dumps(measure()))
        return
    bare = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    found = {"without": [], "with": []}
    for _ in range(options.pairs):
        for kind, rows in found.items():
            out = subprocess.run([sys.executable, __file__, "--one", kind], env=bare, capture_output=True, text=True, check=True)
            rows.append(json.loads(out.stdout))
    print(
        f"{torch.get_num_threads()} threads\n\n| freed memory | forward, ms | training step, ms | peak, MiB |\n|---|---|---|---|"
    )
    for kind, rows in found.items():
        print(
            f"| {'kept' if kind == 'with' else 'given back'} | "
            + " | ".join(f"{median(c):.1f}" for c in zip(*rows, strict=True))
            + " |"
        )


if __name__ == "__main__":
    main()
