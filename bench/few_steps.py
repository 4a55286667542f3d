"""How few steps: undrift's samplers against the schedulers of diffusers, on one network, one noise and as many evaluations.

    python bench/few_steps.py RUN [--data-dir DIR] [-n 1000] [--scale 1] [--long]

For every number of network evaluations: the Fréchet distance to the training data in the features of a classifier of these data
(with its jackknife error), the share of samples recognised as the class asked for, and the distance to where the probability flow
itself takes the same noise (root mean square over pixels, in model space, data from -1 to 1). The schedulers are given every grid
and order that they offer, and their best counts. `--long` adds 1,000 steps of ancestral sampling. Writes bench/few_steps.md and
needs `pip install -e '.[bench]'`.
"""

import argparse
import time
from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

import undrift as ud
from undrift import times as grids
from undrift.evaluate.distance import Frechet
from undrift.evaluate.features import features
from undrift.evaluate.recognition import train_judge
from undrift.evaluate.verdict import data_of

BETAS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
SPACINGS = {"linspace": {"timestep_spacing": "linspace"}, "trailing": {"timestep_spacing": "trailing"}}
GRIDS = SPACINGS | {"karras": {"use_karras_sigmas": True}, "exponential": {"use_exponential_sigmas": True}}
BUDGETS = (5, 8, 10, 15, 20)

THEIRS = {
    **{f"DDIM {k}": (DDIMScheduler, {"clip_sample": False, **v}) for k, v in SPACINGS.items()},
    **{
        f"DPMSolverMultistep-{order} {k}": (DPMSolverMultistepScheduler, {"solver_order": order, **v})
        for order in (2, 3)
        for k, v in GRIDS.items()
    },
    **{f"UniPC-{order} {k}": (UniPCMultistepScheduler, {"solver_order": order, **v}) for order in (2, 3) for k, v in GRIDS.items()},
    **{f"DEIS-{order} {k}": (DEISMultistepScheduler, {"solver_order": order, **v}) for order in (2, 3) for k, v in GRIDS.items()},
    "EDM-Euler karras": (EDMEulerScheduler, {"sigma_min": 0.02}),
    **{f"Heun {k}": (HeunDiscreteScheduler, v) for k, v in GRIDS.items()},
    **{f"PNDM {k}": (PNDMScheduler, {"skip_prk_steps": True, **v}) for k, v in {"leading": {}, "trailing": SPACINGS["trailing"]}.items()},
}  # fmt: skip
OURS = {
    f"{name} {grid}": (sampler, getattr(grids, grid))
    for name, sampler in {
        "ABM": ud.ABM(),
        "ABM-3": ud.ABM(3),
        "UniPC": ud.UniPC(),
        "DPM2M": ud.DPM2M(),
        "DEIS-3": ud.DEIS(3),
    }.items()
    for grid in ("straight", "trailing")
} | {
    "DPM2M karras": (ud.DPM2M(), grids.karras),
    "DPM3M trailing": (ud.DPM3M(), grids.trailing),
    "Heun trailing": (ud.Heun(), grids.trailing),
    "DDIM trailing": (ud.Euler(), grids.trailing),
}


class Counter:
    """The network as diffusers wants it: from a scheduler's own variables to the noise it predicts."""

    def __init__(self, denoiser):
        self.denoiser, self.calls = ud.Counted(denoiser.using(ud.Karras(t_max=1e5))), 0

    def __call__(self, x, sigma):
        """x of variance-preserving scale at noise level sigma = sigma/alpha; data and noise."""
        t = torch.as_tensor(float(sigma), dtype=torch.float64)
        return self.denoiser(x * (1 + t**2).sqrt(), t)


def scheduled(cls, options, denoiser, z, budget):
    """Samples by one of their schedulers with exactly `budget` evaluations, or None if it has no such number."""
    network = Counter(denoiser)
    edm = cls is EDMEulerScheduler
    scheduler = cls(**options) if edm else cls(**BETAS, **options)
    scheduler.set_timesteps({HeunDiscreteScheduler: (budget + 1) // 2, PNDMScheduler: budget - 1}.get(cls, budget))
    x = z * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            sigma = float(scheduler.sigmas[i])
        else:
            bar = float(scheduler.alphas_cumprod[int(t)])
            sigma = ((1 - bar) / bar) ** 0.5
        scaled = scheduler.scale_model_input(x, t)
        if edm:  # its input has unit variance for data of sigma_data; what it wants back is EDM's F
            data = network(x / (1 + sigma**2) ** 0.5, sigma).data
            c = scheduler.config.sigma_data
            output = (data - c**2 / (sigma**2 + c**2) * x) * (sigma**2 + c**2) ** 0.5 / (sigma * c)
        else:
            output = network(scaled, sigma).noise
        x = scheduler.step(output, t, x).prev_sample
    return x if network.denoiser.calls == budget else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--long", action="store_true", help="also 1,000 steps of ancestral sampling")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("few_steps.md"))
    options = parser.parse_args()
    model = ud.load(options.run)
    train, held_out = data_of(options.run, options.data_dir)
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")
    labels = torch.arange(options.n) % len(model.spec.classes)
    guided = model.denoiser if options.scale == 1 else ud.Mix(model.denoiser, model.denoiser.given(None), options.scale)
    rows = torch.linspace(0, len(train) - 1, min(len(train), 10_000)).long()
    frechet = Frechet(features(judge, train.batch(rows)[0]))

    def by_batches(draw):
        return torch.cat([draw(part) for part in torch.split(torch.arange(options.n), 250)])

    def ours(sampler, grid, steps):
        return ud.sample(guided, (options.n, *model.spec.shape), sampler, steps, cond=labels, grid=grid, batch_size=250)

    def theirs(cls, settings, budget):
        def draw(part):
            z = ud.Noise(part).fold("sample", 0).fold("prior").normal(torch.empty(len(part), *model.spec.shape))
            return scheduled(cls, settings, guided.given(labels[part]), z, budget)

        return (
            None
            if scheduled(cls, settings, guided.given(labels[:2]), torch.zeros(2, *model.spec.shape), budget) is None
            else by_batches(draw)
        )

    with torch.no_grad():
        started = time.perf_counter()
        end = ours(ud.RungeKutta(), grids.straight, 26)
        found = {}

        def note(name, budget, x):
            if x is not None and bool(torch.isfinite(x).all()):
                clean = model.spec.to_model(model.spec.from_model(x))
                distance = frechet(features(judge, clean))
                seen = (judge.classify(clean) == labels).double().mean().item()
                away = (x - end).square().mean().sqrt().item()
                found[name, budget] = distance.value, distance.standard_error, 100 * seen, away
                print(f"{time.perf_counter() - started:6.0f} s  {budget:4d}  {name:34s}  Frechet {distance.value:7.3f} +- {distance.standard_error:.3f}  "
                      f"recognised {100 * seen:5.1f} %  to the flow {away:.4f}", flush=True)  # fmt: skip

        note("flow (RK4)", 101, end)
        real = held_out.batch(torch.linspace(0, len(held_out) - 1, min(len(held_out), options.n)).long())[0]
        floor = frechet(features(judge, real))
        print(f"held-out data: Frechet {floor.value:.3f} +- {floor.standard_error:.3f}")
        for budget in BUDGETS:
            for name, (sampler, grid) in OURS.items():
                note(f"undrift {name}", budget, ours(sampler, grid, sampler.steps_within(budget)))
            for name, (cls, settings) in THEIRS.items():
                try:
                    note(f"diffusers {name}", budget, theirs(cls, settings, budget))
                except (ValueError, IndexError, AssertionError, NotImplementedError) as error:
                    print(f"diffusers {name} at {budget}: {error}")
        if options.long:
            note("undrift Ancestral, 1,000 steps", 1000, ours(ud.Ancestral(), grids.log_snr, 1000))
    write(options, model, found, floor, len(held_out))


def write(options, model, found, floor, held_out):
    lines = [
        "# How few steps",
        "",
        f"`python bench/few_steps.py RUN -n {options.n} --scale {options.scale:g}{' --long' if options.long else ''}` on a model of "
        f"{model.trained.get('data', '?')} ({model.parameters:,} parameters, {model.trained.get('steps', 0):,} steps). "
        f"Fréchet distance in classifier features: lower is better; held-out data get {floor.value:.2f} ± {floor.standard_error:.2f}. "
        "“To the flow”: root mean square distance to the probability flow's own end from the same noise.",
        "",
        "| evaluations | | sampler and grid | Fréchet | recognised, % | to the flow |",
        "|---|---|---|---|---|---|",
    ]
    for budget in sorted({b for _, b in found}):
        for family in ("undrift", "diffusers", "flow"):
            mine = {n: v for (n, b), v in found.items() if b == budget and n.startswith(family)}
            if not mine:
                continue
            picks = {"by Fréchet": min(mine, key=lambda n: mine[n][0]), "by distance": min(mine, key=lambda n: mine[n][3])}
            for rank, name in picks.items():
                d, e, seen, away = mine[name]
                lines.append(
                    f"| {budget} | best of {family}, {rank} | {name.removeprefix(family).strip()} | {d:.2f} ± {e:.2f} | {seen:.1f} | {away:.3f} |"
                )
    lines += [
        "",
        "Every setting:",
        "",
        "| evaluations | setting | Fréchet | recognised, % | to the flow |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {b} | {n} | {d:.2f} ± {e:.2f} | {s:.1f} | {a:.3f} |"
        for (n, b), (d, e, s, a) in sorted(found.items(), key=lambda i: (i[0][1], i[1][0]))
    ]
    options.out.write_text("\n".join(lines) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
