"""How much of a sampling run is spent outside the network: samplers, schedules, addressed noise, bookkeeping.

    python bench/outside.py [RUN] [--batch 64] [--rounds 7]

A trained model of classes, or by default the U-Net of the mnist recipe with random weights (what it computes does not matter, only how
long it takes), and a batch of 64. The time inside the network is measured by a hook, the rest of the wall clock is "outside"; medians over
rounds. As in the command line, freed memory is kept.
"""

import argparse
import time
from statistics import median

import torch

import undrift as ud
from undrift.cli.allocator import keep_freed_memory
from undrift.recipe.build import build_denoiser
from undrift.recipe.options import kinds
from undrift.recipe.read import load_recipe
from undrift.recipe.tables import SAMPLERS


class Timed(torch.nn.Module):
    """A network that keeps the time spent in it."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seconds = net, 0.0

    def forward(self, *arguments):
        start = time.perf_counter()
        out = self.net(*arguments)
        self.seconds += time.perf_counter() - start
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a run's folder")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()
    if options.run:
        denoiser = ud.load(options.run).denoiser
    else:
        recipe = load_recipe("mnist")
        denoiser = build_denoiser(kinds(recipe.network), kinds(recipe.process), "karras", 0.6, (1, 28, 28), 10).eval()
    timed = denoiser.net = Timed(denoiser.net)
    shape = (options.batch, *denoiser.shape)
    labels = torch.arange(options.batch) % timed.net.classes
    weights = sum(p.numel() for p in denoiser.parameters())
    print(f"a batch of shape {shape}, {weights:,} parameters, {torch.get_num_threads()} threads\n")
    print("| sampler | evaluations | outside, % (guided) | outside, % (unguided) |\n|---|---|---|---|")
    for name in (
        "abm",
        "dpm2m",
        "unipc",
        "deis",
        "ddim",
        "heun",
        "sde-dpm2m",
        "sa-solver",
        "ancestral",
        "euler-maruyama",
        "predictor-corrector",
    ):
        sampler, shares = SAMPLERS[name], []
        steps = sampler.steps_within(20)
        for guided in (True, False):
            model = ud.Mix(denoiser, denoiser.given(None), 2.0) if guided else denoiser
            seen = []
            for _ in range(options.rounds + 1):
                timed.seconds, start = 0.0, time.perf_counter()
                ud.sample(model, shape, sampler, steps, cond=labels)
                total = time.perf_counter() - start
                seen.append(100 * (1 - timed.seconds / total))
            shares.append(median(seen[1:]))  # the first one warms up
        print(f"| {name} | {sampler.evaluations(steps)} | {shares[0]:.2f} | {shares[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
