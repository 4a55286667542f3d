"""Paper 001, Fig. 3: a network fitted to the true score of two Gaussians. It is right where the points are, and nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import undrift as ud
from undrift.study.base import Claim, Measured, Seen, Study
from undrift.study.context import StudyContext
from undrift.study.figure import field, panels


def clean_score(law: ud.GaussianMixture, x: Tensor) -> Tensor:
    """grad log p of the clean law, by differentiating its exact log-density."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(law.log_prob(x).sum(), x)[0]


def score_field(steps: int = 1000, points: int = 1000, seed: int = 0) -> dict[str, Tensor]:
    """A 2-128-128-2 ReLU network fitted to the true score on 1,000 points by Adam at 1e-3, seen on a 20 x 20 grid."""
    law = ud.GaussianMixture([[1.0, 1.0], [-1.0, -1.0]], 0.1**0.5, [0.3, 0.7])
    x = law.sample(points, ud.Noise(range(points)).fold("fig3", seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    seen, goal = x.float(), clean_score(law, x).float()
    for _ in range(steps):
        loss = 0.5 * (net(seen) - goal).square().sum(1).mean()  # explicit score matching (001 eq. 3.4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    axis = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        learned = net(grid.float()).double()
    true = clean_score(law, grid)
    density = law.log_prob(grid).exp()
    return {"grid": grid, "true": true, "learned": learned, "density": density, "error": (learned - true).norm(dim=1), "data": x}


def measure(context: StudyContext) -> Measured:
    """Dense: above a tenth of the largest density on the grid. Empty: below a thousandth."""
    r = score_field(context.count(1000), context.count(1000, least=20))
    dense, empty = r["density"] > 0.1 * r["density"].max(), r["density"] < 1e-3 * r["density"].max()
    relative = r["error"] / r["true"].norm(dim=1)
    return {**r, "dense": float(relative[dense].mean()), "empty": float(relative[empty].mean())}


def _good(m: Measured) -> Seen:
    return f"relative error {100 * m['dense']:.1f} %", m["dense"] < 0.05


def _poor(m: Measured) -> Seen:
    return f"relative error {100 * m['empty']:.0f} %", m["empty"] > 0.25


STUDY = Study(
    name="001-fig3",
    title="The learned score, where there are points and where there are none",
    source="sec. 3.1, Fig. 3",
    covers=("X9",),
    measure=measure,
    claims=(
        Claim("“a good job predicting the score in areas with high density”", "sec. 3.1", "relative error below 5 %", _good),
        Claim("“a poor job in areas with low density”", "sec. 3.1", "relative error above 25 %", _poor),
    ),
    figure=lambda m: panels({f"{k} score": field(m["grid"], m[k], m["density"], 1.5, 25.0) for k in ("learned", "true")}),
    caption="Arrows: learned and true score, to one scale, long ones cut; orange: the density.",
    toy=True,
)
