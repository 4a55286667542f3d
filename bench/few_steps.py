"""How few steps: undrift's samplers against the schedulers of diffusers, on one network, one noise and as many evaluations.

    OMP_NUM_THREADS=1 python bench/few_steps.py RUN [--data-dir DIR] [-n 1000] [--scale 1] [--long] [--workers 2]

For every number of network evaluations: the Fréchet distance to the training data in the features of a classifier of these data
(without bias, with its jackknife error), the share of samples recognised as the class asked for, and the distance to where the
probability flow itself takes the same noise (root mean square over pixels, in model space, data from -1 to 1). The schedulers are
given every grid and order that they offer. All settings draw 200 samples, or as many as the Fréchet distance takes; of each
library the three best by either figure draw n. `--long` adds 1,000 steps of ancestral sampling, of 300 samples. Writes
bench/few_steps.md and needs `pip install -e '.[bench]'`.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
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
from undrift.metrics.features import features
from undrift.metrics.frechet import Frechet
from undrift.metrics.recognition import train_judge
from undrift.metrics.strata import by_class
from undrift.run import Run

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
        "VelocityABM": ud.VelocityAB(corrector=True),
        "VelocityAB": ud.VelocityAB(),
        "ABM": ud.ABM(),
        "ABM-3": ud.ABM(3),
        "UniPC": ud.UniPC(),
        "DPM2M": ud.DPM2M(),
        "DEIS-3": ud.DEIS(3),
        "PLMS": ud.PLMS(),
    }.items()
    for grid in ("straight", "trailing")
} | {
    "DPM2M karras": (ud.DPM2M(), grids.karras),
    "DPM2M log_snr": (ud.DPM2M(), grids.log_snr),
    "ABM log_snr": (ud.ABM(), grids.log_snr),
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
    parser.add_argument("--workers", type=int, default=2, help="batches drawn at a time, each on one thread")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("few_steps.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ud.load(options.run)
    train, held_out = Run(options.run, options.data_dir).data()
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")
    labels = torch.arange(options.n) % len(model.spec.classes)
    guided = model.denoiser if options.scale == 1 else ud.Mix(model.denoiser, model.denoiser.given(None), options.scale)
    shape = model.spec.shape
    rows = torch.linspace(0, len(train) - 1, min(len(train), 10_000)).long()
    even, (known, classes) = by_class(train, held_out), train.batch(rows)
    frechet = Frechet(features(judge, known), even(classes))
    if (why := frechet.refusal(min(options.n, len(held_out)))) is not None:
        raise SystemExit(f"no Fréchet distance: {why}")
    few = min(options.n, max(200, frechet.least))
    pool = ThreadPoolExecutor(options.workers, initializer=torch.set_num_threads, initargs=(1,))
    started = time.perf_counter()

    def draw(setting, budget, low, high):
        """Samples `low` to `high` of a setting, in batches of 100 shared out over the workers; None if it has no such number."""

        def batch(part):
            with torch.no_grad():
                if len(setting) == 2:
                    sampler, grid = setting
                    steps = sampler.steps_within(budget)
                    return ud.sample(
                        guided, (len(part), *shape), sampler, steps, cond=labels[part], grid=grid, first=int(part[0])
                    )
                _, cls, settings = setting
                z = ud.Noise(part).fold("sample", 0).fold("prior").normal(torch.empty(len(part), *shape))
                return scheduled(cls, settings, guided.given(labels[part]), z, budget)

        parts = list(pool.map(batch, torch.split(torch.arange(low, high), 100)))
        return None if any(part is None for part in parts) else torch.cat(parts)

    def measured(x):
        clean = model.spec.to_model(model.spec.from_model(x))
        seen = (judge.classify(clean) == labels[: len(x)]).double().mean().item()
        return (
            frechet(features(judge, clean), even(labels[: len(x)])),
            100 * seen,
            (x - end[: len(x)]).square().mean().sqrt().item(),
        )

    def say(name, budget, n, figures):
        distance, seen, away = figures
        print(f"{time.perf_counter() - started:6.0f} s  {budget:4d}  {name:36s} {n:5d}  Frechet {distance.value:7.3f} +- "
              f"{distance.standard_error:.3f}  recognised {seen:5.1f} %  to the flow {away:.4f}", flush=True)  # fmt: skip

    settings = {f"undrift {k}": v for k, v in OURS.items()} | {f"diffusers {k}": ("theirs", *v) for k, v in THEIRS.items()}
    end = draw((ud.RungeKutta(), grids.straight), 101, 0, options.n)
    found, first, drawn = {("flow, RK4", 101): measured(end)}, {}, {}
    say("flow, RK4", 101, options.n, found["flow, RK4", 101])
    real, classes = held_out.batch(torch.linspace(0, len(held_out) - 1, min(len(held_out), options.n)).long())
    floor = frechet(features(judge, real), even(classes))
    for budget in BUDGETS:
        for name, setting in settings.items():
            try:
                x = draw(setting, budget, 0, few)
            except (ValueError, IndexError, AssertionError, NotImplementedError) as error:
                print(f"{name} at {budget}: {error}")
                continue
            if x is not None and bool(torch.isfinite(x).all()):
                drawn[name, budget], first[name, budget] = x, measured(x)
                say(name, budget, few, first[name, budget])
        for family in ("undrift", "diffusers"):
            mine = {name: v for (name, b), v in first.items() if b == budget and name.startswith(family)}
            near = [sorted(mine, key=lambda name, v=mine, k=k: v[name][k].value if k == 0 else v[name][k])[:3] for k in (0, 2)]
            for name in dict.fromkeys(near[0] + near[1]):
                x = drawn[name, budget]
                if options.n > few:
                    x = drawn[name, budget] = torch.cat([x, draw(settings[name], budget, few, options.n)])
                found[name, budget] = measured(x)
                say(name, budget, options.n, found[name, budget])
    gap = None
    if options.long:
        count = min(options.n, max(300, frechet.least))
        long = measured(draw((ud.Ancestral(), grids.log_snr), 1000, 0, count))
        say("undrift Ancestral", 1000, count, long)
        name = min((n for n, b in found if b == 10 and n.startswith("undrift")), key=lambda n: found[n, 10][0].value)
        short = measured(drawn[name, 10][:count])
        say(name, 10, count, short)
        gap = name, count, short, long
    write(options, model, found, first, few, floor, gap)


def write(options, model, found, first, few, floor, gap):
    def line(budget, n, kind, name, figures):
        distance, seen, away = figures
        return (
            f"| {budget} | {n} | {kind}{name} | {distance.value:.2f} ± {distance.standard_error:.2f} | {seen:.1f} | {away:.3f} |"
        )

    head = ["| evaluations | samples | sampler and grid | Fréchet | recognised, % | to the flow |", "|---|---|---|---|---|---|"]
    lines = [
        "# How few steps",
        "",
        f"`python bench/few_steps.py RUN -n {options.n} --scale {options.scale:g}{' --long' if options.long else ''}` on a model of "
        f"{model.trained.get('data', '?')} ({model.parameters:,} parameters, {model.trained.get('steps', 0):,} steps of training). "
        f"Fréchet distance in classifier features: lower is better; held-out data get {floor.value:.2f} ± {floor.standard_error:.2f}. "
        "“To the flow”: root mean square distance to the probability flow's own end from the same noise.",
        "",
        *head,
    ]
    for budget in BUDGETS:
        for family in ("undrift", "diffusers"):
            mine = {n: v for (n, b), v in found.items() if b == budget and n.startswith(family)}
            for kind, key in {"by Fréchet": lambda v: v[0].value, "by distance": lambda v: v[2]}.items():
                if mine:
                    name = min(mine, key=lambda n: key(mine[n]))
                    lines.append(
                        line(budget, options.n, f"best of {family} {kind}: ", name.removeprefix(family).strip(), mine[name])
                    )
    lines.append(line(101, options.n, "", "the flow itself (RK4)", found["flow, RK4", 101]))
    if gap is not None:
        name, count, short, long = gap
        difference = short[0].minus(long[0])
        lines += [
            "",
            f"Ten evaluations against a thousand, {count} samples of the same classes: {name.removeprefix('undrift ')} gets "
            f"{short[0].value:.2f}, 1,000 steps of ancestral sampling {long[0].value:.2f}: "
            f"{difference.value:+.2f} ± {difference.standard_error:.2f} apart; recognised {short[1]:.1f} % and {long[1]:.1f} %.",
        ]
    lines += [
        "",
        f"Every setting, the first {few} samples:",
        "",
        *head,
    ]
    order = sorted(first.items(), key=lambda item: (item[0][1], item[1][0].value))
    lines += [line(b, few, "", name, figures) for (name, b), figures in order]
    options.out.write_text("\n".join(lines) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
