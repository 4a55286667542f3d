"""What addressed randomness costs: the share of a sampling run spent drawing noise, and the ratio to torch.randn.

    python bench/noise_cost.py [--device cuda --batch 1024]

The worst case is measured: the ancestral sampler, which draws noise in every step but the last.
"""

import argparse
import statistics
import time

import torch

import undrift as ud
from undrift.noise import Noise


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(call, device, repeats=15):  # type: ignore[no-untyped-def]
    times = []
    for _ in range(repeats):
        start = clock(device)
        call()
        times.append(clock(device) - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    shape = (options.batch, 1, 28, 28)
    x = torch.zeros(shape, device=options.device)
    noise = Noise(torch.arange(options.batch, device=options.device)).fold("bench")
    net = ud.nn.UNet(1, widths=(48, 96), blocks=1, patch=2, classes=10).to(options.device).eval()
    denoiser = ud.Denoiser(net, ud.Rectified(), shape=(1, 28, 28))
    labels = torch.arange(options.batch, device=options.device) % 10
    guided = ud.Mix(denoiser, denoiser.given(None), 2.0).given(labels)
    with torch.no_grad():
        draw = median_seconds(lambda: noise.normal(x), options.device)
        plain = median_seconds(lambda: torch.randn_like(x), options.device)
        one = median_seconds(lambda: denoiser(x, 0.5, labels), options.device)
        both = median_seconds(lambda: guided(x, 0.5), options.device)
    print(f"{shape} on {options.device}: noise {1e3 * draw:.2f} ms, torch.randn {1e3 * plain:.2f} ms (ratio {draw / plain:.1f})")
    print(f"one evaluation {1e3 * one:.1f} ms, guided {1e3 * both:.1f} ms")
    print(
        f"share of a run: ancestral {100 * draw / (draw + one):.1f} %, guided {100 * draw / (draw + both):.1f} %; "
        f"ten steps of dpm2m (only the prior is drawn) {100 * draw / (draw + 10 * one):.2f} %"
    )


if __name__ == "__main__":
    main()
