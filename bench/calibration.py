"""How well each method samples p(x_0 | y): its distance to the exact posterior, and how often its intervals hold the truth.

    python bench/calibration.py [--observations 64] [--draws 39] [--particles 128] [--steps 100] [--only mmps]

Priors are Gaussian mixtures, so that the exact posterior is a mixture in closed form. For each prior, operator and noise,
truths are drawn from the prior and measured. Of each posterior the method draws samples; printed are

    SW       sliced Wasserstein distance to as many exact samples, over its floor: that of two exact sets; 1 is perfect
    50, 90   % of the truth's entries within the samples' central 50 and 90 % (simulation-based calibration: what it says)
    chi2/df  of the ranks of the truth among the samples, in 8 bins; about 1 if calibrated, more if not

39 draws leave 40 ranks, of which 20 and 36 lie in the intervals: with another number a perfect method misses 50 and 90.

Source of the calibration: Talts et al. 2018, Algorithm 1.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import undrift as ud
from undrift import inverse

Draw = Callable[[ud.GaussianMixture, inverse.Operator, Tensor, float, int], Tensor]
DOUBLE = torch.empty(0, dtype=torch.float64)


class Score(NamedTuple):
    """Of one method on one problem."""

    ratio: float  # of the sliced Wasserstein distance to its floor
    half: float  # share of entries within the central 50 %
    most: float  # within the central 90 %
    chi2: float  # of the ranks, over its degrees of freedom


def priors(process: ud.Process) -> dict[str, ud.GaussianMixture]:
    """A mixture of three in the plane, and of five in eight dimensions; of about unit spread."""
    flat = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]], [[0.08, 0.0], [0.0, 0.08]]]
    noise = ud.Noise(range(5)).fold("prior")
    roots = noise.fold("root").normal(torch.empty(5, 8, 8).double()) * 0.25
    return {
        "2-D": ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5], [0.2, 1.2]], flat, [0.3, 0.5, 0.2], process),
        "8-D": ud.GaussianMixture(noise.normal(torch.empty(5, 8).double()), roots @ roots.mT + 0.02 * torch.eye(8).double(),
                                  process=process),
    }  # fmt: skip


def operators(d: int) -> dict[str, inverse.Operator]:
    """Half the entries; a blur of all; half as many random projections."""
    keep = torch.arange(d) % 2 == 0
    return {
        "mask": inverse.mask(keep), "blur": inverse.blur((d,), 0.6), "project": inverse.project((d,), 0.5),
    }  # fmt: skip


def as_matrix(operator: inverse.Operator) -> Tensor:
    """`(n, d)` of a linear operator on vectors."""
    return operator(torch.eye(*operator.shape, *operator.shape, dtype=torch.float64)).mT


def by_sampler(method: inverse.posterior.Method, steps: int, sampler: ud.Sampler) -> Draw:
    """Samples by `Posterior`, all observations at once."""

    def draw(prior: ud.GaussianMixture, operator: inverse.Operator, y: Tensor, noise_std: float, draws: int) -> Tensor:
        rows = y.repeat_interleave(draws, 0)
        posterior = ud.Posterior(prior, operator, rows, noise_std, method)
        x = ud.sample(posterior, len(rows), sampler, steps, batch_size=len(rows), like=DOUBLE)
        return x.view(len(y), draws, -1)

    return draw


def by_particles(twist: inverse.posterior.Method, steps: int, particles: int) -> Draw:
    """Samples by `smc`, one particle system for each observation."""

    def draw(prior: ud.GaussianMixture, operator: inverse.Operator, y: Tensor, noise_std: float, draws: int) -> Tensor:
        return inverse.smc(prior, operator, y, noise_std, twist, particles, steps).draw(draws)

    return draw


def sliced(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Sliced Wasserstein-1 distance of `(N, n, d)` to `(N, n, d)`, `(N,)`; `directions` `(k, d)` of unit length."""
    return ((a @ directions.mT).sort(1).values - (b @ directions.mT).sort(1).values).abs().mean((1, 2))


def score(
    prior: ud.GaussianMixture, operator: inverse.Operator, noise_std: float, draw: Draw, observations: int, draws: int
) -> Score:
    """One method on one problem."""
    noise = ud.Noise(range(observations)).fold("truth")
    truth = prior.sample(observations, noise)
    clean = operator(truth)
    y = clean + noise_std * noise.fold("n").normal(clean)
    exact = [prior.given_observation(as_matrix(operator), row, noise_std) for row in y]
    one, two = (
        torch.stack([law.sample(draws, ud.Noise(range(draws)).fold(name, i)) for i, law in enumerate(exact)]) for name in "ab"
    )
    x = draw(prior, operator, y, noise_std, draws)
    directions = torch.nn.functional.normalize(ud.Noise(range(32)).normal(torch.empty(32, truth.shape[1]).double()), dim=1)
    ratio = sliced(x, one, directions).mean() / sliced(two, one, directions).mean()
    rank = (x < truth[:, None]).sum(1)  # uniform on 0..draws if the draws and the truth are of one law
    share = (rank + 0.5) / (draws + 1)
    inside = [float(((share - 0.5).abs() <= level / 2).double().mean()) for level in (0.5, 0.9)]
    counts = torch.histc(share, 8, 0, 1)
    chi2 = float(((counts - rank.numel() / 8) ** 2).sum() / (rank.numel() / 8) / 7)
    return Score(float(ratio), inside[0], inside[1], chi2)


def methods(steps: int, particles: int) -> dict[str, Draw]:
    """What is compared. The stochastic sampler, since none of the methods' flows is exact."""
    sampler = ud.Ancestral()
    return {
        "mmps": by_sampler(inverse.MMPS(), steps, sampler),
        "tmpd": by_sampler(inverse.TMPD(), steps, sampler),
        "pigdm": by_sampler(inverse.PiGDM(), steps, sampler),
        "dps": by_sampler(inverse.DPS(), steps, sampler),
        "diffpir": by_sampler(inverse.DiffPIR(), steps, sampler),
        "smc": by_particles(inverse.MMPS(), steps, particles),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=64)
    parser.add_argument("--draws", type=int, default=39)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--particles", type=int, default=128)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{options.observations} observations of each problem, {options.draws} draws, {options.steps} steps of Ancestral; smc: {options.particles} particles"
    )
    print(
        "| method | prior | noise | " + " | ".join(f"{o}: SW, 50, 90, chi2/df" for o in operators(8)) + " | mean SW | seconds |"
    )
    print("|---|---|---|" + "---|" * 5)
    for name, draw in methods(options.steps, options.particles).items():
        if options.only and name not in options.only:
            continue
        for where, prior in priors(ud.VP()).items():
            for noise_std in (0.05, 0.5):
                begun, cells, ratios = time.perf_counter(), [], []
                for operator in operators(math.prod(prior.shape or ())).values():
                    s = score(prior, operator, noise_std, draw, options.observations, options.draws)
                    cells.append(f"{s.ratio:.2f}, {100 * s.half:.0f}, {100 * s.most:.0f}, {s.chi2:.1f}")
                    ratios.append(s.ratio)
                seconds = time.perf_counter() - begun
                print(
                    f"| {name} | {where} | {noise_std:g} | {' | '.join(cells)} | {sum(ratios) / 3:.2f} | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
