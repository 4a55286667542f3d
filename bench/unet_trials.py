"""Which U-Net, batch and learning rate draw the best digits per second of training?

Trains one design for a fixed time with EDM preconditioning, then draws class-conditional samples with
DPM-Solver++(2M) and classifier-free guidance, and scores them with a classifier: the share recognised as
the class asked for, and the Frechet distance of the classifier's features (so that a model that repeats
itself loses). Everything but the networks is written out here, on purpose: this is a check on the library
from outside it.

    python bench/unet_trials.py classifier --data-dir DIR            trains the referee
    python bench/unet_trials.py train --data-dir DIR --minutes 2 --set "widths=(64,128)" --set lr=2e-3
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.nn import Classifier, UNet


def mnist(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Read (N, 1, 28, 28) uint8 pictures and (N,) labels of "train" or "t10k"."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return torch.from_numpy(pictures.copy()), torch.from_numpy(labels.astype(np.int64))


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's 8x8 digits as uint8 0..255: 1,437 to learn from and every fifth held out."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    pictures = torch.from_numpy((raw.images * (255 / 16)).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(raw.target.astype(np.int64))
    held = torch.arange(len(labels)) % 5 == 4
    return pictures[~held], labels[~held], pictures[held], labels[held]


def load(args: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test pictures and labels."""
    if args.data == "digits":
        return digits()
    return *mnist(args.data_dir, "train"), *mnist(args.data_dir, "t10k")


def scaled(pictures: Tensor) -> Tensor:
    """Map uint8 to float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def shifted(x: Tensor, most: int) -> Tensor:
    """Move each picture by its own whole number of pixels, at most `most` each way, filling with -1."""
    if most == 0:
        return x
    padded = F.pad(x, (most,) * 4, value=-1.0)
    windows = padded.unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
    at = torch.randint(0, 2 * most + 1, (2, len(x)))
    return windows[torch.arange(len(x)), :, at[0], at[1]]


def in_batches(f: Any, x: Tensor, size: int = 250) -> Tensor:
    """Apply f to slices and join the answers, without gradients."""
    with torch.no_grad():
        return torch.cat([f(part) for part in x.split(size)])


def train_classifier(args: argparse.Namespace) -> None:
    """Train the referee and save it."""
    s = {
        "width": 32,
        "epochs": 4,
        "batch": 128,
        "lr": 4e-3,
        "decay": 0.02,
        "shift": 2,
        "smooth": 0.0,
        **args.set,
    }
    torch.manual_seed(s.get("seed", 0))
    x, y, x_test, y_test = load(args)
    net = Classifier(1, 10, s["width"])
    optimiser = torch.optim.AdamW(net.parameters(), s["lr"], weight_decay=s["decay"], fused=True)
    steps = s["epochs"] * (len(x) // s["batch"])
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, s["lr"], total_steps=steps, pct_start=0.2)
    start = time.perf_counter()
    for _ in range(s["epochs"]):
        for rows in torch.randperm(len(x))[: len(x) // s["batch"] * s["batch"]].view(-1, s["batch"]):
            loss = F.cross_entropy(net(shifted(scaled(x[rows]), s["shift"])), y[rows], label_smoothing=s["smooth"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
    seconds = time.perf_counter() - start
    net.eval()
    right = (in_batches(net, scaled(x_test)).argmax(1) == y_test).float().mean().item()
    print(
        json.dumps({"settings": s, "seconds": round(seconds, 1), "test accuracy": round(right, 4)}),
        flush=True,
    )
    torch.save({"state": net.state_dict(), "width": s["width"]}, args.out / f"referee-{args.data}.pt")


def referee(args: argparse.Namespace) -> Classifier:
    """Load the classifier that `train_classifier` saved."""
    saved = torch.load(args.out / f"referee-{args.data}.pt")
    net = Classifier(1, 10, saved["width"])
    net.load_state_dict(saved["state"])
    return net.eval()


def denoise(net: nn.Module, x: Tensor, sigma: Tensor, cond: Tensor, sigma_data: float) -> Tensor:
    """EDM's D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4, cond) (Karras et al. 2022, eq. 7)."""
    s = sigma.view(-1, 1, 1, 1)
    total = s**2 + sigma_data**2
    out = net(x * total.rsqrt(), sigma.log() / 4, cond)
    return sigma_data**2 / total * x + s * sigma_data * total.rsqrt() * out


@torch.no_grad()
def draw(net: nn.Module, cond: Tensor, shape: tuple[int, ...], steps: int, scale: float, s: dict[str, Any]) -> Tensor:
    """DPM-Solver++(2M) on a Karras grid that ends at 0, with guidance u + scale (c - u)."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    root = 1 / s["rho"]
    grid = (s["top"] ** root + ramp * (s["bottom"] ** root - s["top"] ** root)) ** s["rho"]
    grid = torch.cat([grid, grid.new_zeros(1)])
    x = torch.randn(len(cond), *shape, generator=torch.Generator().manual_seed(1)) * grid[0].item()
    null, old = torch.full_like(cond, -1), x
    for i in range(steps):
        now, then = grid[i].item(), grid[i + 1].item()
        level = torch.full((len(x),), now)
        c = denoise(net, x, level, cond, s["sigma_data"])
        if scale != 1:
            u = denoise(net, x, level, null, s["sigma_data"])
            c = u + scale * (c - u)
        mean = c
        if i > 0 and then > 0:
            r = math.log(grid[i - 1].item() / now) / math.log(now / then)
            mean = c + (c - old) / (2 * r)
        x, old = then / now * x + (1 - then / now) * mean, c
    return x.clamp(-1, 1)


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to two sets of features."""
    a, b = a.double(), b.double()
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    cross = torch.linalg.eigvals(ca @ cb).real.clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * cross)


DEFAULTS: dict[str, Any] = {
    "widths": (48, 96), "blocks": 1, "attention": (1,), "patch": 2, "dropout": 0.0, "embedding": 256,
    "batch": 64, "lr": 4e-3, "warm": 0.03, "decay": 0.0, "beta2": 0.99, "flat": 0.0, "end": 0.0, "clip": 1.0,
    "ema": 0.05, "mean": 0.0, "std": 1.2, "drop": 0.12, "shift": 0, "sigma_data": 0.6, "seed": 0,
    "rho": 7.0, "top": 80.0, "bottom": 0.02,
}  # fmt: skip


def train(args: argparse.Namespace) -> None:
    """Train one design by the clock, then score it."""
    s = {**DEFAULTS, **args.set}
    torch.manual_seed(s["seed"])
    x, y, x_test, _ = load(args)
    design = {key: s[key] for key in ("widths", "blocks", "attention", "patch", "dropout", "embedding")}
    net = UNet(1, classes=10, **design)
    shadow = UNet(1, classes=10, **design).eval()
    shadow.load_state_dict(net.state_dict())
    weights, averages = list(net.parameters()), list(shadow.parameters())
    optimiser = torch.optim.AdamW(weights, s["lr"], (0.9, s["beta2"]), weight_decay=s["decay"], fused=True)
    # A shared machine stretches the wall clock; two threads' processor time, halved, is fairer.
    clock = (lambda: time.process_time() / 2) if args.clock == "cpu" else time.perf_counter
    budget, start, step, seen, total = args.minutes * 60, clock(), 0, 0, torch.zeros(())
    order = torch.randperm(len(x))
    while (done := (clock() - start) / budget) < 1:
        if seen + s["batch"] > len(order):
            order = torch.cat([order[seen:], torch.randperm(len(x))])
            seen = 0
        rows = order[seen : seen + s["batch"]]
        seen, step = seen + s["batch"], step + 1
        x0 = shifted(scaled(x[rows]), s["shift"])
        cond = torch.where(torch.rand(len(rows)) < s["drop"], -1, y[rows])
        sigma = (s["mean"] + s["std"] * torch.randn(len(rows))).exp()
        data = denoise(net, x0 + sigma.view(-1, 1, 1, 1) * torch.randn_like(x0), sigma, cond, s["sigma_data"])
        weight = (sigma**2 + s["sigma_data"] ** 2) / (sigma * s["sigma_data"]) ** 2
        loss = ((data - x0).square().mean((1, 2, 3)) * weight).mean()
        loss.backward()
        ramp = min(1.0, done / s["warm"]) if s["warm"] else 1.0
        fall = max(0.0, (done - s["flat"]) / (1 - s["flat"]))
        rate = s["lr"] * ramp * (s["end"] + (1 - s["end"]) * (1 + math.cos(math.pi * fall)) / 2)
        optimiser.param_groups[0]["lr"] = rate
        if s["clip"]:
            nn.utils.clip_grad_norm_(weights, s["clip"])
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():  # a power-law average: forgets all but about the last `ema` share of the run
            torch._foreach_lerp_(averages, weights, min(1.0, 1 / (s["ema"] * step + 1)))
            total += (loss.detach() - total) * 0.01
    row = {"set": args.set, "minutes": args.minutes, "params": sum(p.numel() for p in weights), "steps": step,
           "img/s": round(step * s["batch"] / budget, 1), "loss": round(float(total), 4),
           "processor seconds": round(time.process_time())}  # fmt: skip
    print(json.dumps(row), flush=True)
    if args.save:
        torch.save({"state": shadow.state_dict(), "s": s}, args.out / args.save)
    score(args, shadow, s, x, x_test, args.samples)


def score(args: argparse.Namespace, net: nn.Module, s: dict[str, Any], x: Tensor, x_test: Tensor, count: int) -> None:
    """Print the share recognised, the Frechet distance and the nearness of training pictures."""
    judge, cond = referee(args), torch.arange(count) % 10
    real = in_batches(judge.features, scaled(x_test))
    flat = scaled(x).flatten(1)
    near = torch.cdist(scaled(x_test[:300]).flatten(1), flat).min(1).values.median().item()
    for steps, scale in args.ask:
        start = time.perf_counter()
        drawn = torch.cat([draw(net, part, tuple(x.shape[1:]), steps, scale, s) for part in cond.split(250)])
        seconds = time.perf_counter() - start
        right = (in_batches(judge, drawn).argmax(1) == cond).float().mean().item()
        distance = frechet(in_batches(judge.features, drawn), real)
        nearest = torch.cdist(drawn[:300].flatten(1), flat).min(1).values.median().item()
        print(
            f"    steps {steps:3d} scale {scale:4.2f} recognised {100 * right:6.2f} % "
            f"frechet {distance:7.4f} nearest {nearest:.2f} (held-out {near:.2f}) "
            f"{count / seconds:.0f} img/s",
            flush=True,
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["classifier", "train", "score"])
    parser.add_argument("--data", default="mnist", choices=["mnist", "digits"])
    parser.add_argument("--data-dir", type=Path, default=Path("data/mnist"))
    parser.add_argument("--out", type=Path, default=Path("runs/trials"))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--save", default="")
    parser.add_argument("--set", action="append", default=[], help="name=value, for example lr=2e-3")
    parser.add_argument("--ask", default="[(10,1.5),(20,1.5)]", help="list of (steps, guidance scale)")
    args = parser.parse_args()
    args.set = {k: ast.literal_eval(v) for k, v in (pair.split("=", 1) for pair in args.set)}
    args.ask = ast.literal_eval(args.ask)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    if args.task == "classifier":
        train_classifier(args)
    elif args.task == "train":
        train(args)
    else:
        saved = torch.load(args.out / args.save)
        x, _, x_test, _ = load(args)
        s = {**saved["s"], **args.set}
        keys = ("widths", "blocks", "attention", "patch", "dropout", "embedding")
        net = UNet(1, classes=10, **{k: s[k] for k in keys}).eval()
        net.load_state_dict(saved["state"])
        score(args, net, s, x, x_test, args.samples)


if __name__ == "__main__":
    main()
