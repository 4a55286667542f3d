"""Paper 004: digits by plain Langevin dynamics, from a network trained at one small noise level, and by annealed, from a ladder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import undrift as ud
from undrift.data import digits as embedded
from undrift.data.spec import Spec
from undrift.metrics.interval import median
from undrift.sampler import State
from undrift.study.base import Claim, Measured, Seen, Study, settled
from undrift.study.context import StudyContext
from undrift.study.figure import digits, panels
from undrift.study.p001_fig4 import langevin


def raw_digits() -> tuple[Tensor, Tensor]:
    """The embedded digits in model space, `(1797, 64)` in [-1, 1], and their labels."""
    found = embedded()
    assert found.labels is not None
    return found.raw().flatten(1).double() / 8 - 1, torch.as_tensor(found.labels)


class Small(nn.Module):
    """A multilayer perceptron that also sees the noise level."""

    def __init__(self, size: int, width: int = 192) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size + 1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)
        )

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        out: Tensor = self.layers(torch.cat([x, level[:, None]], 1))
        return out


def fitted(process: ud.Process, points: Tensor, steps: int = 600, seed: int = 0) -> ud.Denoiser:
    """A small network trained by denoising score matching on the levels of a ladder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = ud.Denoiser(Small(points.shape[1]), process, sigma_data=0.7, shape=tuple(points.shape[1:]))
    optimizer = torch.optim.Adam(denoiser.parameters(), 2e-3)
    objective, data = ud.DenoisingScoreMatching(), points.float()
    for k in range(steps):
        noise = ud.Noise(range(128)).fold("fit", seed, k)
        rows = (noise.fold("row").uniform((128,)) * len(data)).long().clamp(max=len(data) - 1)
        loss = objective(denoiser, data[rows], noise).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return denoiser.eval()


@torch.no_grad()
def digits_by_langevin(n: int = 100, moves: int = 1000, steps: int = 600) -> dict[str, Tensor]:
    """Digits from a network trained at sigma = .01 alone, by plain Langevin, and from one that saw a ladder, annealed."""
    points, _ = raw_digits()
    noise = ud.Noise(range(n)).fold("t9")
    start = noise.fold("start").normal(torch.empty(n, 64, dtype=torch.float32))
    ladder, sharp = ud.SMLD(10, 0.1, 6.0), ud.SMLD(2, 0.01, 0.011)
    with torch.enable_grad():
        conditional, alone = fitted(ladder, points, steps), fitted(sharp, points, steps)
    plain = langevin(lambda x: ud.score_at(alone, x, sharp.levels[1]), start, 2 * (0.3 * 0.01) ** 2, moves, noise)
    sampler = ud.AnnealedLangevin(corrector=ud.Langevin(0.21), corrections=max(1, moves // 10))
    *_, last = sampler(conditional, State(6.0 * start, ladder.levels[0]), ladder.levels, noise)
    return {"data": points[:n].float(), "start": start, "plain": plain, "annealed": last.x}


def measure(context: StudyContext) -> Measured:
    """Median distance to the nearest digit, with its 95 % interval; digits lie about 2 from one another."""
    r, (data, _) = digits_by_langevin(context.count(100, least=20), context.count(1000), context.count(600)), raw_digits()
    far = {}
    for k, x in r.items():
        near = torch.cdist(x.double(), data).topk(2, dim=1, largest=False).values[:, int(k == "data")]
        far[k] = float(near.median()), median(near)
    return {"x": {k: x[:36] for k, x in r.items()}, "far": far}


def _ratio(m: Measured, name: str, to: str) -> tuple[float, float]:
    (a, b), (c, d) = m["far"][name][1], m["far"][to][1]
    return a / d, b / c


def _fails(m: Measured) -> Seen:
    far = m["far"]
    text = f"{far['plain'][0]:.2f} from the nearest digit, the noise it started from {far['start'][0]:.2f}"
    return text, settled(_ratio(m, "plain", "start"), low=0.7)


def _works(m: Measured) -> Seen:
    far = m["far"]
    text = f"{far['annealed'][0]:.2f} from the nearest digit; digits themselves {far['data'][0]:.2f}"
    return text, settled(_ratio(m, "annealed", "plain"), high=0.5)


STUDY = Study(
    name="004-langevin",
    title="Digits by plain Langevin, and by annealed",
    source="“Langevin dynamics in practice”",
    covers=(),
    measure=measure,
    claims=(
        Claim(
            "plain Langevin on digits gives noise",
            "picture of MNIST",
            "still over 0.7 of its start's distance from the nearest digit",
            _fails,
        ),
        Claim("annealed Langevin gives digits", "“Sampling”", "less than half as far", _works),
    ),
    figure=lambda m: panels(
        {
            k: digits(m["x"][k].clamp(-1, 1).view(-1, 1, 8, 8), Spec.bounded((1, 8, 8), 0, 16, integer=True), 6, 4)
            for k in ("data", "plain", "annealed")
        }
    ),
    caption="Digits, plain Langevin at σ = 0.01, annealed from 6 to 0.1.",
    toy=True,
)
