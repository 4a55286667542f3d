"""The pictures of the docs, from the experiments that the tests judge. `python docs/pictures/make.py [NAME ...]`

Deterministic: fixed seeds, no metadata, few colours; each file stays below 60 kB.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import undrift as ud  # noqa: E402
from guidance import tilted_law  # noqa: E402
from metrics import planted  # noqa: E402
from theory import experiments as ex  # noqa: E402
from undrift.diagnosis.picture import draw  # noqa: E402
from undrift.sampler.base import State  # noqa: E402

mpl.use("Agg")
plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 100})
BLUE, RED, GREY = "#1f5fa8", "#c8442f", "#8a8a8a"


def panels(count: int, width: float = 3.0, height: float = 2.7):
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained")
    return figure, np.atleast_1d(axes)


def save(figure, name: str) -> None:
    for axis in figure.axes:  # minor labels of a short logarithmic axis overlap
        for side in (axis.xaxis, axis.yaxis):
            if side.get_scale() == "log":
                side.set_minor_formatter(mpl.ticker.NullFormatter())
    raw = io.BytesIO()
    figure.savefig(raw, format="png", metadata={"Software": None})
    plt.close(figure)
    image = Image.open(raw).convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(HERE / f"{name}.png", optimize=True)
    print(f"{name}.png {(HERE / f'{name}.png').stat().st_size / 1000:.0f} kB")


def the_idea() -> None:
    process = ud.VP()
    m = ud.GaussianMixture([[1.2], [-0.8]], 0.25, [0.4, 0.6], process)
    t = torch.linspace(0, 1, 200, dtype=torch.float64)
    x = torch.linspace(-2.8, 2.8, 160, dtype=torch.float64)
    density = torch.stack([m.log_prob(x[:, None], s).exp() for s in t], 1)
    figure, axes = panels(2, 4.0)
    for axis, (sampler, title) in zip(
        axes, ((ud.EulerMaruyama(), "the reverse SDE"), (ud.EulerMaruyama(0), "the probability flow")), strict=True
    ):
        axis.pcolormesh(t, x, density**0.5, cmap="Blues", shading="auto", rasterized=True)
        grid = torch.linspace(1, 0, 301, dtype=torch.float64)
        noise = ud.Noise(range(8)).fold("idea")
        start = process.prior((8, 1), noise).double()
        path = [start, *(state.x for state in sampler(m, State(start, grid[0]), grid, noise))]
        axis.plot(grid, torch.cat(path, 1).T, lw=0.8, color=RED)
        axis.set(xlim=(1, 0), ylim=(-2.8, 2.8), xlabel="t: from noise to data", title=title)
    axes[0].set_ylabel("x")
    save(figure, "the_idea")


def samplers() -> None:
    """The same seven noises under every sampler: where the curves stop is where the network is asked."""
    m = ud.GaussianMixture([[1.2], [-0.8]], 0.2, [0.4, 0.6], ud.Rectified())
    t, x = torch.linspace(0, 1, 160, dtype=torch.float64), torch.linspace(-2.4, 2.4, 120, dtype=torch.float64)
    density = torch.stack([m.log_prob(x[:, None], s).exp() for s in t], 1)
    shown = {
        "Euler = DDIM": (ud.Euler(), 10), "Heun": (ud.Heun(), 5), "RK4": (ud.RungeKutta(), 3), "Adaptive": (ud.Adaptive(), 10),
        "DPM2S": (ud.DPM2S(), 5), "DPM2M": (ud.DPM2M(), 10), "UniPC": (ud.UniPC(), 10), "ABM": (ud.ABM(), 10),
        "Ancestral = DDPM": (ud.Ancestral(), 40), "EulerMaruyama": (ud.EulerMaruyama(), 40), "ReverseDiffusion": (ud.ReverseDiffusion(), 40),
        "SDEDPM2M": (ud.SDEDPM2M(), 20), "SASolver": (ud.SASolver(), 20), "Churn": (ud.Churn(), 20),
        "PredictorCorrector": (ud.PredictorCorrector(ud.Ancestral()), 20),
        "AnnealedLangevin": (ud.AnnealedLangevin(corrector=ud.Langevin(0.3), corrections=5), 20),
    }  # fmt: skip
    figure, axes = plt.subplots(4, 4, figsize=(8, 6.4), layout="constrained", sharex=True, sharey=True)
    noise = ud.Noise(range(7)).fold("every sampler")
    start = m.process.prior((7, 1), noise).double()
    for axis, (name, (sampler, steps)) in zip(axes.flat, shown.items(), strict=True):
        grid = ud.times.straight(m.process, steps)
        states = list(sampler(m, State(start, grid[0]), grid, noise))
        axis.pcolormesh(t, x, density**0.5, cmap="Blues", shading="auto", rasterized=True)
        axis.plot(grid, torch.cat([start, *(s.x for s in states)], 1).T, ".-", ms=2, lw=0.7, color=RED)
        cost = sampler.evaluations(steps)
        axis.set(xlim=(1, 0), ylim=(-2.4, 2.4), xticks=[], yticks=[])
        axis.set_title(f"{name}: {'as it needs' if cost is None else cost}", fontsize=8)
    save(figure, "samplers")


def t1() -> None:
    m, n = ex.mixture(ud.Karras()), 500
    figure, axes = panels(4, 2.2, 2.4)
    far = torch.tensor([[3.0, -3.0]], dtype=torch.float64).expand(n, -1)
    noise = ud.Noise(range(n)).fold("t1")
    for axis, moves in zip(axes, (10, 60, 600), strict=False):
        x = ex.langevin_chain(m, far, 0.7, moves, 0.14, noise)
        axis.scatter(*x.T, s=2, color=BLUE)
        axis.set_title(f"after {moves} moves")
    axes[3].scatter(*m.sample(n, noise.fold("truth"), 0.7).T, s=2, color=GREY)
    axes[3].set_title("the law")
    for axis in axes:
        axis.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[], aspect="equal")
    save(figure, "t1_langevin")


def t2() -> None:
    target, mean, variance = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.25], [1.5, -1.0], [0.2, 2.0]))
    t = torch.linspace(0, 4, 200, dtype=torch.float64)
    kl = ex.kl_gaussian(*ex.ou_moments(mean, variance, target, t), torch.zeros(2).double(), target)
    figure, (axis,) = panels(1, 4.5)
    axis.semilogy(t, torch.exp(-2 * t) * kl[0], "--", color=GREY, label=r"bound $e^{-2\alpha t}\,\mathrm{KL}_0$")
    axis.semilogy(t, kl, color=BLUE, label=r"$\mathrm{KL}(\rho_t\,\|\,p)$")
    axis.set(xlabel="t", ylabel="nats")
    axis.legend(frameon=False)
    save(figure, "t2_kl")


def t3() -> None:
    figure, axes = panels(2)
    steps = [25, 50, 100, 200, 400]
    axes[0].loglog(steps, [ex.reverse_gaussian(ud.VP(), 0.25, n)[0] for n in steps], "o-", color=BLUE)
    axes[0].set(xlabel="steps", ylabel="KL, nats", title="exact score", xlim=(10, 1000))
    errors = [0.02, 0.05, 0.1, 0.2]
    found = [ex.reverse_gaussian(ud.VP(), 0.25, 400, e) for e in errors]
    axes[1].loglog(errors, [b for _, b in found], "--", color=GREY, label="Girsanov's bound")
    axes[1].loglog(errors, [k for k, _ in found], "o-", color=BLUE, label="KL")
    axes[1].set(xlabel="relative error of the score", title="wrong score", xlim=(0.01, 1))
    axes[1].legend(frameon=False)
    save(figure, "t3_error")


def t4() -> None:
    m = ex.mixture(ud.VP())
    figure, axes = plt.subplots(2, 4, figsize=(8, 4), layout="constrained")
    for row, (name, sampler, steps) in zip(axes, (("SDE", ud.EulerMaruyama(), 400), ("flow", ud.Heun(), 40)), strict=True):
        for axis, (t, x) in zip(row, ex.marginals(sampler, m, 500, steps, 1), strict=True):
            axis.scatter(*m.sample(500, ud.Noise(range(500)).fold("truth"), t).T, s=2, color="#c9c9c9")
            axis.scatter(*x.T, s=2, color=BLUE if name == "flow" else RED)
            axis.set(xlim=(-3.5, 3.5), ylim=(-3, 3), xticks=[], yticks=[], title=f"{name}, t = {t:.2f}")
    save(figure, "t4_marginals")


def t5() -> None:
    m, t = ud.GaussianMixture([[1.0], [-1.0]], 0.35, [0.4, 0.6], ud.VP()), ex.time(0.35)
    figure, axes = panels(3)
    for axis, s in zip(axes, (0.3, 0.05), strict=False):
        k = ex.reverse_kernel(m, 0.2, t, ex.time(s))
        axis.plot(k["y"], k["exact"], color=BLUE, label="exact")
        axis.plot(k["y"], k["drawn"], "--", color=RED, label="Ancestral's")
        centre = float(k["y"].mean())
        axis.set(title=f"one step, beta = {k['beta']:.2f}", xlim=(centre - 2, centre + 2), yticks=[], xlabel="x_s")
    axes[0].legend(frameon=False, fontsize=7)
    found = [ex.reverse_kernel(m, 0.9, t, t - gap) for gap in (0.1, 0.05, 0.025, 0.0125, 0.006, 0.003)]
    beta = [float(k["beta"]) for k in found]
    axes[2].loglog(beta, [k["kl_drawn"] for k in found], "o-", color=RED, label="to Ancestral's, beta^2")
    axes[2].loglog(beta, [k["kl_best"] for k in found], "o-", color=BLUE, label="to the best, beta^3")
    axes[2].set(xlabel="beta", title="KL, nats", xlim=(0.01, 1))
    axes[2].legend(frameon=False, fontsize=7)
    save(figure, "t5_reverse")


def t6() -> None:
    r = ex.score_field()
    figure, axes = panels(2, 3.4, 3.3)
    grid, density = r["grid"], r["density"].reshape(20, 20).T
    for axis, name in zip(axes, ("true", "learned"), strict=True):
        axis.contourf(np.linspace(-1.5, 1.5, 20), np.linspace(-1.5, 1.5, 20), density, cmap="Oranges")
        axis.quiver(*grid.T, *r[name].T, color="#333333", scale=400, width=0.004)
        axis.set(title=f"{name} score", xticks=[], yticks=[], aspect="equal")
    save(figure, "t6_no_data")
    figure, axes = panels(3, 2.6, 2.7)
    for axis, (name, x) in zip(axes, ex.slow_mixing().items(), strict=True):
        share = (x.sum(1) > 0).double().mean()
        axis.scatter(*x.T, s=2, color={"truth": GREY, "plain": RED, "annealed": BLUE}[name])
        axis.set(title=f"{name}: {100 * share:.0f} % up", xlim=(-2, 2), ylim=(-2, 2), xticks=[], yticks=[], aspect="equal")
    save(figure, "t6_weights")


def t7() -> None:
    sigmas = torch.logspace(0, -3, 13, dtype=torch.float64)
    r = ex.off_manifold(sigmas)
    figure, (axis,) = panels(1, 4.5)
    axis.loglog(sigmas, r["mean_square"].sqrt(), "o-", color=RED, ms=3, label="score")
    axis.loglog(sigmas, r["halves"][:, 1].sqrt(), "o-", color=BLUE, ms=3, label="noise")
    axis.loglog(sigmas, r["halves"][:, 0].sqrt(), "s--", color=GREY, ms=3, label="data")
    axis.set(xlabel="sigma", ylabel="root mean square norm", xlim=(1.3, 8e-4))
    axis.legend(frameon=False)
    save(figure, "t7_manifold")


def t8() -> None:
    steps = [30, 60, 120, 250, 500, 1000]
    figure, (axis,) = panels(1, 4.5)
    for kind, colour, label in (("tilde", RED, "variance beta-tilde"), ("beta", BLUE, "variance beta")):
        results = [ex.gaussian_bound(n, kind) for n in steps]
        axis.loglog(steps, [r["bound"] - r["entropy"] for r in results], "o-", color=colour, label=label)
    axis.set(xlabel="steps of the chain", ylabel="bound minus entropy, nats")
    axis.legend(frameon=False)
    save(figure, "t8_bound")


def t9() -> None:
    r = ex.digits_by_langevin()
    figure, axes = panels(3, 2.6, 2.8)
    titles = {"data": "data", "plain": "plain, sigma = .01", "annealed": "annealed, 6 to .1"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        tiles = ((r[name][:36] + 1) / 2).clamp(0, 1).reshape(36, 8, 8)
        tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1)).reshape(6, 6, 10, 10).permute(0, 2, 1, 3).reshape(60, 60)
        axis.imshow(1 - tiles, cmap="gray", vmin=0, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    save(figure, "t9_digits")


def imputation() -> None:
    """The second entry given the first, by three methods and in truth."""
    law = ud.GaussianMixture(
        [[0.0, 0.0], [1.8, -1.6]], [[[1.0, 0.93], [0.93, 1.0]], [[0.25, 0.0], [0.0, 0.16]]], [0.9, 0.1], process=ud.VP()
    )
    n, known = 1200, torch.tensor([True, False])
    values = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    ways = {
        "replacement": (ud.Ancestral(), 100),
        "RePaint x 3": (ud.RePaint(resamplings=3), 40),
        "RePaint x 20": (ud.RePaint(resamplings=20), 40),
    }
    figure, axes = panels(4, 2.3, 2.6)
    law_draws = law.sample(900, ud.Noise(range(900)).fold("law"))
    axes[0].scatter(*law_draws.T, s=2, color="#b9b9b9")
    axes[0].axvline(2.0, color=RED, lw=1)
    axes[0].set(title="x1 = 2 is known", xlabel="x1", ylabel="x2", xlim=(-3.3, 3.6), ylim=(-3.2, 3.2))
    grid = torch.linspace(-3.2, 3.2, 400, dtype=torch.float64)[:, None]
    exact = law.conditional(values[0], known).log_prob(grid).exp()
    for axis, (title, (sampler, steps)) in zip(axes[1:], ways.items(), strict=True):
        x = ud.impute(law, values, known, n, sampler=sampler, steps=steps, batch_size=n)[:, 0, 1]
        axis.hist(x, 45, range=(-3.2, 3.2), density=True, color=BLUE, alpha=0.45)
        axis.plot(grid, exact, color=RED, lw=1)
        axis.set(title=title, xlabel="x2", yticks=[], ylim=(0, float(exact.max()) * 1.1))
    save(figure, "imputation")


def guidance() -> None:
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    figure, axes = panels(4, 2.2, 2.5)
    for axis, scale in zip(axes, (0.5, 1.0, 2.0, 4.0), strict=True):
        x = tilted_law.flowed(ud.Mix(tilted_law.LAW, tilted_law.LAW.given(None), scale), u)
        density = (u[8::8] - u[:-8:8]) / (x[8::8] - x[:-8:8])  # mass over width, between quantiles
        axis.fill_between(grid, tilted_law.tilted(scale, grid), color="#c9c9c9", label="tilted law")
        axis.plot((x[8::8] + x[:-8:8]) / 2, density, color=RED, label="guided flow")
        axis.set(title=f"scale {scale:g}", xlim=(-2.5, 3.5), ylim=(0, 1.5), yticks=[], xlabel="x")
    axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    save(figure, "guidance")


def posterior() -> None:
    inv, y, std, n = ud.inverse, torch.tensor([0.15]).double(), 0.15, 600
    m = ex.mixture(ud.VP())
    matrix = torch.tensor([[1.0, 0.0]]).double()
    exact, operator = m.given_observation(matrix, y, std), inv.matrix(matrix)
    noise, like = ud.Noise(range(n)).fold("posterior"), torch.empty(0).double()
    clouds = {"prior": m.sample(n, noise), "exact posterior": exact.sample(n, noise.fold("exact"))}
    for method in (inv.MMPS(), inv.TMPD(), inv.PiGDM(), inv.DPS(), inv.DiffPIR()):
        guided = ud.Posterior(m, operator, y, std, method)
        clouds[type(method).__name__] = ud.sample(guided, n, ud.Ancestral(), 100, batch_size=n, like=like)
    clouds["smc on MMPS"] = ud.smc(m, operator, y, std, inv.MMPS(), n, 100).draw(n)[0]
    figure, axes = plt.subplots(2, 4, figsize=(8, 4), layout="constrained")
    for axis, (name, x) in zip(axes.flat, clouds.items(), strict=True):
        upper = 100 * (x[:, 1] > 0).double().mean()
        axis.scatter(*x.T, s=2, color=GREY if name == "prior" else BLUE if name == "exact posterior" else RED)
        axis.axvline(y.item(), lw=0.6, color=GREY)
        axis.set(xlim=(-2.5, 3), ylim=(-2.5, 2), xticks=[], yticks=[], title=f"{name}: {upper:.0f} % up")
    save(figure, "posterior")


def diagnose() -> None:
    """What the command draws, of a denoiser that is wrong at one noise level."""
    found = ud.diagnose(planted.Dented(planted.LAW, 2.0, 4.0), planted.LAW, 1000, steps=12)
    image = draw(found).quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(HERE / "diagnose.png", optimize=True)
    print(f"diagnose.png {(HERE / 'diagnose.png').stat().st_size / 1000:.0f} kB")


PICTURES = {
    f.__name__: f for f in (the_idea, samplers, guidance, imputation, posterior, diagnose, t1, t2, t3, t4, t5, t6, t7, t8, t9)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
