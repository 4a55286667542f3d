"""The floor of the loss by extrapolation over sizes: of power laws it is exact; of denoisers with a planted error it is the known one."""

import json
import math
import shutil

import pytest
import torch

import undrift as ud
from conftest import refused, undrift
from metrics import planted
from undrift.diagnosis.extrapolate import Sized, extrapolate
from undrift.diagnosis.measure import Nats, Number
from undrift.diagnosis.score import Examples, score_error
from undrift.process import as_time, expand

SIZES = (64.0, 16.0, 4.0, 1.0)


def noise(n, name="test"):
    return ud.Noise(range(n)).fold(name)


def power_laws(floors, factors, exponents, sizes=SIZES, n=40):
    """`(K, bins, n)` losses that follow the law exactly, the same for all examples."""
    floor, c, a = (torch.tensor(v, dtype=torch.float64)[None, :, None] for v in (floors, factors, exponents))
    return (floor + c * torch.tensor(sizes, dtype=torch.float64)[:, None, None] ** -a).expand(-1, -1, n)


@pytest.mark.parametrize("count", [3, 4])
def test_a_power_law_is_found_exactly(count):
    """The exponents are on a grid of 0.2 %."""
    a = (0.3, 0.9, 1.5)
    found = extrapolate(power_laws((5.0, 0.0, 1.0), (2.0, 1.0, 3.0), a, SIZES[:count]), SIZES[:count])
    for e, c, exponent in zip(found.excess, (2.0, 1.0, 3.0), a, strict=True):
        assert e.value == pytest.approx(c * 64.0**-exponent, rel=0.01)
    assert found.exponents == pytest.approx(a, rel=0.003)
    assert found.total.value == pytest.approx(sum(e.value for e in found.excess))
    assert found.endless == (False, False, False)


def test_what_does_not_fall_costs_nothing_and_what_falls_for_ever_is_said():
    flat = power_laws((1.0, 1.0), (0.0, -1.0), (1.0, 1.0))  # as good at any size; and better where smaller
    assert [e.value for e in extrapolate(flat, SIZES).excess] == [0, 0]
    logarithmic = 3 - 0.1 * torch.tensor(SIZES, dtype=torch.float64).log()[:, None, None].expand(-1, 1, 40)
    found = extrapolate(logarithmic, SIZES)
    assert found.endless == (True,) and found.excess[0].value > 0.4


def test_the_error_bar_is_as_wide_as_the_spread_of_repeats():
    """Losses with noise of their own, 60 repeats: the mean bar is within 40 % of their spread (its own error is 9 %: 4 sigma)."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(60):
        shared = torch.randn(1, 1, 200, generator=generator, dtype=torch.float64)
        own = torch.randn(3, 1, 200, generator=generator, dtype=torch.float64)
        losses = power_laws((5.0,), (1.0,), (0.6,), SIZES[:3], 200) + 3 * shared + 0.05 * own  # what is shared cancels
        found.append(extrapolate(losses, SIZES[:3]).excess[0])
    values = torch.tensor([e.value for e in found])
    bar = sum(e.error for e in found) / len(found)
    assert bar == pytest.approx(values.std().item(), rel=0.4)
    assert abs(values.mean() - 64.0**-0.6) < 4 * values.std() / 60**0.5 and values.std() < 0.3 * values.mean()


def test_scatter_about_the_curve_is_in_the_error_bar_of_four_runs():
    """Of three there is none to be seen; a fifth of a run's excess off the curve shows in the fourth."""
    losses = power_laws((1.0,), (1.0,), (0.5,)).clone()
    losses[1] += 0.05
    assert extrapolate(losses[:3], SIZES[:3]).excess[0].error == pytest.approx(0, abs=1e-9)
    assert extrapolate(losses, SIZES).excess[0].error > 0.02


class Off(ud.AnyDenoiser):
    """A denoiser whose noise is too small by a share of 0.4 size^(-a/2): its excess loss goes as size^-a, at all noise levels."""

    def __init__(self, denoiser, size, a):
        super().__init__()
        self.denoiser, self.lost = denoiser, 0.4 * size ** (-a / 2)
        self.process, self.shape = denoiser.process, denoiser.shape

    def forward(self, x, t, cond=None):
        alpha, sigma = self.process(as_time(t, x))
        kept = self.denoiser(x, t, cond).noise * (1 - self.lost)
        return ud.Prediction((x - expand(sigma, x) * kept) / expand(alpha.clamp(min=1e-9), x), kept)


@pytest.mark.parametrize("a", [0.4, 1.0])
def test_of_denoisers_with_a_planted_error_the_known_excess_is_found(a):
    """Of a mixture the exact excess is known; extrapolated from losses alone it is the same at 4 standard errors, in every bin."""
    law = planted.LAW
    runs = [Off(law, size, a) for size in SIZES]
    held, train = Examples(law.sample(1500, noise(1500))), Examples(law.sample(300, noise(300, "train")))
    smaller = [Sized(d, size) for d, size in zip(runs[1:], SIZES[1:], strict=True)]
    known = score_error(runs[0], held, noise(1500), law)
    found = score_error(runs[0], held, noise(1500), None, train, SIZES[0], smaller)
    assert found.extrapolation is not None and found.extrapolation.sizes == SIZES
    for b, exact in zip(found.bins, known.bins, strict=True):
        assert abs(b.beyond.value - exact.nats.at_least.value) < 4 * math.hypot(b.beyond.error, exact.nats.at_least.error) + 1e-9
    total, exact = found.extrapolation.total, known.nats.at_least
    assert abs(total.value - exact.value) < 4 * math.hypot(total.error, exact.error)
    assert total.error < 0.2 * exact.value
    assert found.best == Nats(total, total) and found.nats.at_most.value > 2 * exact.value  # what was known without the others


def test_the_best_floor_is_the_known_one_then_the_proved_one_then_the_extrapolated_one():
    apart, known = Nats(Number(0.1, 0.01), Number(5.0, 0.1)), Nats(Number(0.3), Number(0.3))
    assert known.over(Number(1.0)) == known and apart.over(None) == apart
    assert apart.over(Number(0.2, 0.1)) == Nats(Number(0.2, 0.1), Number(0.2, 0.1))
    assert apart.over(Number(0.01)) == Nats(apart.at_least, apart.at_least)


@pytest.mark.parametrize("sizes", [(2.0, 1.0), (2.0, 1.0, 1.0), (2.0, 1.0, 0.0)])
def test_too_few_sizes(sizes):
    with pytest.raises(ValueError, match="3 positive sizes or more, all different"):
        extrapolate(torch.zeros(len(sizes), 2, 40), sizes)
    with pytest.raises(ValueError, match="the floor is known"):
        ud.diagnose(planted.LAW, planted.LAW, 50, smaller=[Sized(planted.LAW, 1.0)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four lengths of one training on a table, none of which is anything like done."""
    folder = tmp_path_factory.mktemp("sizes")
    words = ("toy", "data.name=moons", "data.n=500", "network.width=16", "batch_size=16", "sample_every=0", "monitor_every=0")
    for steps in (4, 8, 16, 32):
        from undrift.cli import main

        assert main(["train", *words, f"steps={steps}", "--out", str(folder / f"{steps}")]) == 0
    return folder


SMALL = ("-n", "60", "--steps", "3")


def test_diagnose_extrapolates_over_smaller_runs(runs, capsys):
    code, out, err = undrift("diagnose", runs / "32", *SMALL, "--smaller", runs / "4", runs / "8", runs / "16", capsys=capsys)
    assert (code, err) == (0, "")
    assert "by floor + excess size^-a over 4 runs (parameters times examples, 8 times the smallest)" in out
    found = json.loads((runs / "32" / "diagnose.json").read_text())["score"]
    assert len(found["extrapolation"]["exponents"]) == len(found["bins"])
    total = sum(b["over_sizes"]["value"] for b in found["bins"])
    assert found["extrapolation"]["total"]["value"] == pytest.approx(total)
    assert found["extrapolation"]["total"]["error"] > 0 and all(b["asymmetry"]["error"] >= 0 for b in found["bins"])
    code, out, err = undrift("diagnose", runs / "32", *SMALL, "--smaller", runs / "4", runs / "8", capsys=capsys)
    assert (code, err) == (0, "") and "a curve through 3 runs leaves nothing to test it by" in out
    code, out, err = undrift("diagnose", runs / "32", *SMALL, capsys=capsys)
    assert (code, err) == (0, "") and "over sizes" not in out


def test_runs_that_do_not_fit_are_one_line(runs, judged_run, tmp_path, capsys):
    def said(message, *smaller, run="32"):
        words = ["diagnose", str(runs / run), *SMALL, "--smaller", *map(str, smaller)]
        refused(words, message, runs, capsys)

    said("name 2 smaller runs at least", runs / "4")
    said("no such run folder", runs / "4", runs / "nowhere")
    said("was trained on other data", runs / "4", judged_run)
    said("is not smaller than", runs / "4", runs / "16", run="8")
    said("are of one size", runs / "4", runs / "4")
    other = shutil.copytree(runs / "4", tmp_path / "other")
    tree = json.loads((other / "model.json").read_text())
    tree["process"] = {"kind": "vp"} if tree["process"]["kind"] != "vp" else {"kind": "cosine"}
    (other / "model.json").write_text(json.dumps(tree))
    said("was trained with another process", runs / "8", other)
    tree["trained"].pop("examples")
    (other / "model.json").write_text(
        json.dumps(tree | {"process": json.loads((runs / "4" / "model.json").read_text())["process"]})
    )
    said("does not say how many examples", runs / "8", other)
