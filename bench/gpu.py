"""How fast a device trains and samples: images/s and samples/s, eager and compiled, in float32 and bfloat16, as a share of its own matrix product.

    python bench/gpu.py [--device cuda] [--networks cifar,mnist] [--seconds 5] [--batch 128]
    python bench/gpu.py --device cpu --networks tiny --seconds 0.3      # the command tried anywhere

Training is a step of `undrift.fit`'s own trainer on synthetic pictures: noise, loss, gradient, clipping, AdamW and averages. Sampling is
`Model.draw` at 10 and 20 evaluations. The share is that of the multiply-adds of the network's convolutions and products (three times a
forward pass in training) in what a product of two large matrices of the same type reaches in the same run. Where diffusers is installed,
its UNet2DModel of about the same size runs a plain training loop and its own forward passes in the same run.
"""

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

import undrift as ud
from undrift.device import choose_device
from undrift.nn import UNet
from undrift.training.fit import Training

# 35 million parameters, as the networks of 001 on CIFAR-10; the mnist recipe's; and one to try the command with.
NETWORKS = {
    "cifar": ((3, 32, 32), dict(widths=(128, 256, 256, 256), blocks=2, attention=(1,), layout="ddpm")),
    "mnist": ((1, 28, 28), dict(widths=(32, 64, 64), blocks=2, patch=2)),
    "tiny": ((1, 8, 8), dict(widths=(8, 16), blocks=1)),
}


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(call, many, device, seconds):
    """How many each second: of calls that do `many`, after two that do not count."""
    for _ in range(2):
        call()
    wait(device)
    start, done = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < seconds or not done:
        call()
        wait(device)
        done += many
    return done / took


def product(device, dtype, seconds):
    """Multiply-adds each second of a large matrix product: what the machine can do."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return rate(lambda: a @ b, n**3, device, seconds)


def madds(net, shape, device):
    """Multiply-adds of one forward pass of one picture."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, *shape, device=device), torch.zeros(1, device=device), None)
    return counter.get_total_flops() / 2


def ours(name, precision, compiled, options, device):
    """Images each second in training; samples each second at 10 and at 20 evaluations; multiply-adds; parameters."""
    shape, choices = NETWORKS[name]
    torch.manual_seed(0)
    data, net = torch.randint(0, 256, (options.batch * 4, *shape), dtype=torch.uint8), UNet(shape[0], **choices)
    settings = ud.Settings(
        steps=10**9, batch_size=options.batch, device=str(device), precision=precision, compile=compiled, monitor_every=0,
        quality_every=0, sample_every=0, snapshots=0,
    )  # fmt: skip
    training = Training(net, data, settings, held_out=0.1)
    trainer, at = training.trainer, iter(range(10**9))
    trained = rate(lambda: trainer.step(next(at), 1e-4), options.batch, device, options.seconds)
    for note in trainer.notes:
        print(f"{name}: {note}")
    model, many = training._model, options.batch
    model.denoiser.eval().requires_grad_(False)
    model.denoiser.precision = trainer.precision.kind
    sampled = [
        rate(lambda n=n: model.draw(many, sampler="dpm2m", steps=n, batch_size=many), many, device, options.seconds)
        for n in (10, 20)
    ]
    work = madds(model.denoiser.net, shape, device)
    training.close()
    return trained, *sampled, work, sum(p.numel() for p in net.parameters())


def theirs(name, precision, options, device):
    """The same of diffusers' UNet2DModel in a plain loop; None where diffusers is not installed."""
    try:
        from diffusers import DDPMScheduler, UNet2DModel
    except ImportError:
        return None
    shape, choices = NETWORKS[name]
    widths = tuple(choices["widths"])
    net = UNet2DModel(
        sample_size=shape[1], in_channels=shape[0], out_channels=shape[0], layers_per_block=2, block_out_channels=widths,
        down_block_types=tuple("AttnDownBlock2D" if i in choices.get("attention", ()) else "DownBlock2D" for i in range(len(widths))),
        up_block_types=tuple("AttnUpBlock2D" if i in choices.get("attention", ()) else "UpBlock2D" for i in reversed(range(len(widths)))),
        norm_num_groups=min(32, min(widths)),
    ).to(device)  # fmt: skip
    noiser, optimizer = DDPMScheduler(), torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    x = torch.randn(options.batch, *shape, device=device)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def step():
        eps, t = torch.randn_like(x), torch.randint(0, 1000, (len(x),), device=device)
        with torch.autocast(device.type, kind, enabled=kind != torch.float32):
            loss = (net(noiser.add_noise(x, eps, t), t).sample.float() - eps).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    def draw(n):
        with torch.no_grad(), torch.autocast(device.type, kind, enabled=kind != torch.float32):
            for _ in range(n):
                net(x, torch.tensor(500, device=device))

    trained = rate(step, options.batch, device, options.seconds)
    sampled = [rate(lambda n=n: draw(n), options.batch, device, options.seconds) for n in (10, 20)]
    return trained, *sampled, sum(p.numel() for p in net.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--networks", default="cifar,mnist")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    device = choose_device(options.device)
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {torch.get_num_threads()} threads"
    print(f"{named}, torch {torch.__version__}, batches of {options.batch}\n")
    print(
        "| network | parameters | precision | | training, images/s | of the product | 10 evaluations, samples/s | 20 | of the product |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for precision in options.precisions.split(","):
        most = product(device, {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision], options.seconds)
        for name in options.networks.split(","):
            for compiled in (
                (False,) if options.no_compile else (False, True, "graphs") if device.type == "cuda" else (False, True)
            ):
                trained, ten, twenty, work, size = ours(name, precision, compiled, options, device)
                how = {False: "eager", True: "compiled"}.get(compiled, compiled)
                print(
                    f"| {name} | {size / 1e6:.2f} M | {precision} | {how} | {trained:,.0f} | {100 * 3 * work * trained / most:.0f} % | "
                    f"{ten:,.1f} | {twenty:,.1f} | {100 * 20 * work * twenty / most:.0f} % |",
                    flush=True,
                )
            if (found := theirs(name, precision, options, device)) is not None:
                trained, ten, twenty, size = found
                print(
                    f"| {name} | {size / 1e6:.2f} M | {precision} | diffusers | {trained:,.0f} | | {ten:,.1f} | {twenty:,.1f} | |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
