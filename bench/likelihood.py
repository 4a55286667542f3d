"""What a likelihood costs: evaluations and seconds per image, exact against Hutchinson, fixed steps against step control.

    python bench/likelihood.py [--size 28 --images 4 --probes 1 4 --steps 32]

A small U-Net with random weights: times are those of a trained one, values mean nothing. Ratios within one run count.
"""

import argparse
import statistics
import time

import torch

import undrift as ud
from undrift.likelihood import log_likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--probes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    net = ud.nn.UNet(1, widths=(48, 96), blocks=1, patch=2).to(options.device).eval().requires_grad_(False)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.02)
    shape = (1, options.size, options.size)
    denoiser = ud.Denoiser(net, ud.Rectified(), shape=shape)
    x = torch.rand(options.images, *shape, device=options.device) * 2 - 1
    ways = {f"hutchinson, {k} probe{'s' * (k > 1)}": {"divergence": "hutchinson", "probes": k} for k in options.probes}
    ways["exact"] = {"divergence": "exact"}
    grids = {f"rk4, {options.steps} steps": {"steps": options.steps}, "dopri5, 1e-3": {"rtol": 1e-3}}
    print(f"{options.images} images of {shape} on {options.device}, {sum(p.numel() for p in net.parameters()):,} parameters")
    base = None
    for grid, how in grids.items():
        for way, divergence in ways.items():
            if way == "exact" and "rtol" in how:
                continue  # minutes, and the ratio is known from above
            seconds = []
            for _ in range(options.repeats):
                begun = time.perf_counter()
                found = log_likelihood(denoiser, x, **how, **divergence)
                if options.device == "cuda":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - begun)
            each, calls = statistics.median(seconds) / options.images, found.evaluations.double().mean().item()
            base = each / calls if base is None else base
            print(
                f"{grid:16} {way:22} {calls:6.0f} evaluations  {each:8.3f} s per image  {each / calls / base:8.1f} x per evaluation"
            )


if __name__ == "__main__":
    main()
