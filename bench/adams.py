"""Few steps on exact laws: undrift's deterministic samplers against every scheduler of diffusers, on every grid of either.

    OMP_NUM_THREADS=1 python bench/adams.py [--laws plane,mixture,digits] [--evaluations 6,10,20]

Three laws whose denoiser is known in closed form, so that nothing but the solver is judged: a mixture in the plane, a mixture of
five Gaussians in 64 dimensions whose directions differ in width by a factor of twenty, and the 1,797 digits of scikit-learn as they
are, each a point in 64 dimensions. The noise is DDPM's chain (linear, 1,000 steps). For 6, 10 and 20 evaluations of the denoiser:
the root mean square distance, over samples and entries, to where the probability flow takes the same noise from where the sampler
starts. (So grids that leave out the noisiest levels are not charged for what that does to the law.) Where a scheduler's own price
differs from its number of steps it gets as many steps as the budget pays for. Ours are given every grid by name, and the one that
`undrift frontier` fits, on 32 samples of other noise; the table says what comes out without that one, too. And `straight` from pure
noise, through the `Rectified` process, as diffusers' flow sigmas begin there. Writes bench/adams.md
and needs `pip install -e '.[bench]'`.
"""

import argparse
import inspect
import logging
import math
import time
import warnings
from pathlib import Path

import diffusers
import torch
from sklearn.datasets import load_digits

import undrift as ud
from undrift import times as grids
from undrift.recipe.tables import GRIDS, SAMPLERS
from undrift.tuning.setting import noiseless

BETAS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
SAMPLES = {"plane": 512, "mixture": 128, "digits": 512}
# The grids that a scheduler may offer, by the option that asks for it.
THEIR_GRIDS = {
    **{name: {"timestep_spacing": name} for name in ("linspace", "trailing", "leading")},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "lu": {"use_lu_lambdas": True},
    "flow": {"use_flow_sigmas": True},
}


def law_of(name):
    """An exact law under DDPM's chain."""
    process = ud.DDPM()
    if name == "plane":
        covs = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]]]
        return ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], covs, [0.3, 0.7], process)
    if name == "digits":
        return ud.Empirical(torch.from_numpy(load_digits().data) / 8 - 1, process)
    generator, count, dim = torch.Generator().manual_seed(0), 5, 64
    means = 0.7 * torch.randn(count, dim, generator=generator, dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(count, dim, dim, generator=generator, dtype=torch.float64))[0]
    widths = 0.8 * torch.exp(-3 * torch.linspace(0, 1, dim, dtype=torch.float64))
    covs = turned @ torch.diag(widths**2) @ turned.mT
    return ud.GaussianMixture(means, (covs + covs.mT) / 2, None, process)


def schedulers():
    """`{name: (class, options)}`: every deterministic scheduler for such networks, at every order and on every grid that it has."""
    found = {}

    def offer(name, cls, options=None, only=None):
        takes = inspect.signature(cls.__init__).parameters
        for grid, asked in THEIR_GRIDS.items():
            if set(asked) <= set(takes) and (only is None or grid in only):
                found[f"{name} {grid}"] = cls, {**(options or {}), **asked}

    offer("DDIM", diffusers.DDIMScheduler, {"clip_sample": False})
    offer("PNDM", diffusers.PNDMScheduler, {"skip_prk_steps": True})
    offer("PNDM (Runge-Kutta start)", diffusers.PNDMScheduler, {"skip_prk_steps": False})
    for order in (2, 3):
        for kind in ("midpoint", "heun"):
            multistep = {"solver_order": order, "solver_type": kind}
            for last in (False, True):
                name = f"DPM-Solver++ {order}M {kind}{', last step Euler' if last else ''}"
                offer(name, diffusers.DPMSolverMultistepScheduler, {**multistep, "euler_at_final": last})
            old = {**multistep, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
            offer(f"DPM-Solver {order}M {kind}", diffusers.DPMSolverMultistepScheduler, old)
        offer(f"DPM-Solver++ {order}S", diffusers.DPMSolverSinglestepScheduler, {"solver_order": order})
        offer(f"DEIS {order}", diffusers.DEISMultistepScheduler, {"solver_order": order})
        offer(f"SA-Solver {order}", diffusers.SASolverScheduler, {
            "predictor_order": order, "corrector_order": order, "tau_func": lambda t: 0,
        })  # fmt: skip
        for kind in ("bh1", "bh2"):
            offer(f"UniPC {order} {kind}", diffusers.UniPCMultistepScheduler, {"solver_order": order, "solver_type": kind})
    for name in ("Heun", "Euler", "LMS", "KDPM2"):
        offer(name, getattr(diffusers, f"{name}DiscreteScheduler"))
    for schedule in ("karras", "exponential"):
        edm = {"sigma_min": 0.02, "sigma_schedule": schedule}
        found[f"EDM Euler {schedule}"] = diffusers.EDMEulerScheduler, edm
        for order in (2, 3):
            found[f"EDM DPM-Solver++ {order}M {schedule}"] = (
                diffusers.EDMDPMSolverMultistepScheduler,
                {**edm, "solver_order": order},
            )
    found["flow-match Euler"] = diffusers.FlowMatchEulerDiscreteScheduler, {}
    found["flow-match Heun"] = diffusers.FlowMatchHeunDiscreteScheduler, {}
    found["IPNDM"] = diffusers.IPNDMScheduler, {}
    return found


PURE = "straight from pure noise"  # as diffusers' flow sigmas, which begin beyond the end of the chain


class Network:
    """The denoiser as diffusers wants a network: asked at a noise level sigma/alpha, with x of any of three scales."""

    def __init__(self, law):
        self.denoiser = ud.Counted(law.using(ud.Karras(t_min=1e-9, t_max=1e9)))

    def __call__(self, x, level, scale):
        """`(data, noise)`; `scale` is what x must be divided by to be of the scale of the data."""
        return self.denoiser(x / scale, torch.tensor(level, dtype=torch.float64))


def level_of(scheduler, i, t):
    """sigma/alpha at which a scheduler calls its network for the i-th time."""
    if isinstance(scheduler, diffusers.IPNDMScheduler):
        sigma = float(scheduler.betas[i])
        return sigma / max(math.sqrt(max(0.0, 1 - sigma**2)), 1e-8)
    if isinstance(scheduler, diffusers.KDPM2DiscreteScheduler):
        if scheduler.step_index is None:
            scheduler._init_step_index(t)
        j = scheduler.step_index
        return float(scheduler.sigmas[j] if scheduler.state_in_first_order else scheduler.sigmas_interpol[j])
    if isinstance(scheduler, diffusers.FlowMatchHeunDiscreteScheduler):
        u = float(t) / 1000
    elif hasattr(scheduler, "sigmas"):
        u = float(scheduler.sigmas[i])
        if not (isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler) or scheduler.config.get("use_flow_sigmas")):
            return u
    else:
        bar = float(scheduler.alphas_cumprod[int(t)])
        return math.sqrt((1 - bar) / bar)
    return u / max(1 - u, 1e-9)


def theirs(cls, options, law, z, steps):
    """`(samples, evaluations, level at the start)` of a scheduler from unit noise `z`."""
    edm = cls in (diffusers.EDMEulerScheduler, diffusers.EDMDPMSolverMultistepScheduler)
    matching = cls in (diffusers.FlowMatchEulerDiscreteScheduler, diffusers.FlowMatchHeunDiscreteScheduler)
    own = edm or matching or cls is diffusers.IPNDMScheduler
    network, scheduler, start = Network(law), cls(**options) if own else cls(**BETAS, **options), None
    scheduler.set_timesteps(steps)
    x = z * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for i, t in enumerate(scheduler.timesteps):
        level = level_of(scheduler, i, t)
        start = level if start is None else start
        if matching:
            data, noise = network(x, level, 1 / (1 + level))
            output = noise - data
        elif edm:  # it wants back EDM's F
            data, c = network(x, level, 1.0).data, scheduler.config.sigma_data
            output = (data - c**2 / (level**2 + c**2) * x) * math.sqrt(level**2 + c**2) / (level * c)
        elif options.get("use_flow_sigmas"):
            output = network(x, level, 1 / (1 + level)).noise
        else:
            output = network(scheduler.scale_model_input(x, t), level, 1 / math.sqrt(1 + level**2)).noise
        x = scheduler.step(output, t, x).prev_sample
    return x, network.denoiser.calls, start


class Flow:
    """Where the flow itself takes the noise `z` from a noise level, to 1e-6 or so."""

    def __init__(self, law, z):
        self.law, self.z, self.known = law.using(ud.Karras(t_min=1e-9, t_max=1e9)), z, {}

    def end(self, level):
        level = round(min(level, 1e6), 6)
        if level not in self.known:
            u = torch.linspace(level / (1 + level), 0.3, 120, dtype=torch.float64)
            low = torch.exp(torch.linspace(math.log(0.3), math.log(1e-4), 80, dtype=torch.float64))
            ratios = torch.cat([u, low[1:]])
            times = torch.cat([ratios / (1 - ratios), ratios.new_tensor([1e-9])])
            times[0] = level
            self.known[level] = last(ud.RungeKutta(), self.law, self.z * math.sqrt(1 + level**2), times)
        return self.known[level]

    def away(self, x, level):
        return float((x - self.end(level)).square().mean().sqrt())


def last(sampler, law, x, times):
    *_, state = sampler(law, ud.State(x, times[0]), times, ud.Noise(range(len(x))))
    return state.x


def ours(sampler, law, z, times):
    """`(samples, level at the start)` of a sampler from unit noise `z`."""
    alpha, sigma = law.process(times[0])
    return last(sampler, law, sigma * z, times), float(sigma / max(alpha, 1e-6))


def measured(law, z, budget, flow, names, fitted):
    """`(ours, theirs)`: `{(name, grid): distance}` of every setting that a number of evaluations pays for."""
    mine, other = {}, {}
    for name in names:
        steps = SAMPLERS[name].steps_within(budget)
        for grid, layout in (GRIDS | {"fitted": fitted}).items():
            if steps and grid != "uniform":  # on a chain it is `trailing`
                mine[name, grid] = flow.away(*ours(SAMPLERS[name], law, z, layout(law.process, steps)))
        if steps:
            seen = law.using(ud.Rectified())
            mine[name, PURE] = flow.away(*ours(SAMPLERS[name], seen, z, grids.straight(seen.process, steps)))
    for name, (cls, options) in schedulers().items():
        for steps in (budget, budget - 1, (budget + 1) // 2, budget - 9, 1):
            try:
                x, calls, level = theirs(cls, options, law, z, steps)
            except (ValueError, IndexError, AssertionError, NotImplementedError, TypeError):
                break  # an option that goes with no other, or too few steps for it
            if calls <= budget:
                if bool(torch.isfinite(x).all()):
                    other[name] = flow.away(x, level)
                break
    return mine, other


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laws", default="plane,mixture,digits")
    parser.add_argument("--evaluations", default="6,10,20")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("adams.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    budgets = [int(b) for b in options.evaluations.split(",")]
    names = [name for name, s in SAMPLERS.items() if noiseless(s) and s.evaluations(1) is not None]
    started, cells, lines = time.perf_counter(), {}, []
    for which in options.laws.split(","):
        law = law_of(which)
        z = ud.Noise(range(SAMPLES[which])).fold("adams").normal(torch.empty(SAMPLES[which], *law.shape, dtype=torch.float64))
        flow, few = Flow(law, z), ud.Noise(range(32)).fold("fit")
        fitted = ud.fit_grid(law, torch.empty(32, *law.shape, dtype=torch.float64), few, steps=budgets)
        for budget in budgets:
            mine, other = cells[which, budget] = measured(law, z, budget, flow, names, fitted)
            print(f"{time.perf_counter() - started:6.0f} s  {which} {budget}  ours {min(mine.items(), key=lambda v: v[1])}  "
                  f"theirs {min(other.items(), key=lambda v: v[1])}", flush=True)  # fmt: skip
        lines += leading(which, law, z, flow)
    write(options.out, cells, names, lines)


def leading(which, law, z, flow):
    """Solvers alone: all on the 20 steps of the grid that leaves out the noisiest levels, PNDM's own."""
    times = grids.leading(law.process, 20)
    rows = {
        name: flow.away(*ours(SAMPLERS[name], law, z, times))
        for name in ("velocity-abm", "velocity-ab", "plms", "deis", "abm", "dpm2m")
    }
    for name in ("PNDM leading", "DEIS 3 leading", "UniPC 3 bh2 leading", "DPM-Solver++ 2M midpoint leading"):
        cls, given = schedulers()[name]
        x, _, level = theirs(cls, given, law, z, 20)
        rows[f"diffusers {name.removesuffix(' leading')}"] = flow.away(x, level)
    return [f"| {which} | {name} | {away:.4f} |" for name, away in sorted(rows.items(), key=lambda row: row[1])]


def write(out, cells, names, lines):
    counts = ", ".join(f"{n} of the {name}" for name, n in SAMPLES.items())
    text = [
        "# Few steps on exact laws",
        "",
        f"`python bench/adams.py`, with diffusers {diffusers.__version__}: {len(schedulers())} schedulers and grids of theirs, "
        f"{len(names)} samplers of ours by name on {len(GRIDS) + 1} grids. Root mean square distance to where the flow takes the same "
        f"noise from where each starts; {counts}.",
        "",
        "| law | evaluations | undrift | | without fitting | | diffusers | | ours / theirs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (law, budget), (mine, other) in cells.items():
        (name, grid), a = min(mine.items(), key=lambda v: v[1])
        (plain, on), c = min(((k, v) for k, v in mine.items() if k[1] != "fitted"), key=lambda v: v[1])
        theirs_name, b = min(other.items(), key=lambda v: v[1])
        ratio = f"{a / b:.2f}" if b > 5e-5 else "both 0" if a <= 5e-5 else "above"
        text.append(
            f"| {law} | {budget} | {name} on {grid} | {a:.4f} | {plain} on {on} | {c:.4f} | {theirs_name} | {b:.4f} | {ratio} |"
        )
    text += ["", "Each by name, on the best of its grids:", ""]
    text += ["| | " + " | ".join(f"{law} {budget}" for law, budget in cells) + " |", "|---" * (1 + len(cells)) + "|"]
    for name in names:
        best = [min(((v, g) for (n, g), v in mine.items() if n == name), default=None) for mine, _ in cells.values()]
        text.append(f"| {name} | " + " | ".join("" if b is None else f"{b[0]:.4f} {b[1]}" for b in best) + " |")
    text += ["", "On `straight` alone:", ""]
    text += ["| | " + " | ".join(f"{law} {budget}" for law, budget in cells) + " |", "|---" * (1 + len(cells)) + "|"]
    for name in names:
        text.append(
            f"| {name} | "
            + " | ".join(f"{mine[name, 'straight']:.4f}" if (name, "straight") in mine else "" for mine, _ in cells.values())
            + " |"
        )
    text += [
        "",
        "The solver alone, all on the 20 steps of `leading` (PNDM needs one evaluation more):",
        "",
        "| law | | |",
        "|---|---|---|",
        *lines,
    ]
    text += ["", "The ten best of diffusers:", ""]
    for (law, budget), (_, other) in cells.items():
        best = ", ".join(f"{name} {v:.4f}" for name, v in sorted(other.items(), key=lambda v: v[1])[:10])
        text.append(f"- {law}, {budget} evaluations: {best}")
    out.write_text("\n".join(text) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
