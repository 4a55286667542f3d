"""Known values: exact in the result, and how far the rest is from the exact conditional of a mixture, method by method."""

import itertools
import math

import pytest
import torch

import undrift as ud
from conftest import energy_distance, mixture
from undrift import times as grids
from undrift.imputation.masks import NAMES, named_mask
from undrift.process import expand
from undrift.sampler.base import State

NAN = float("nan")
DOUBLE = torch.empty(0, dtype=torch.float64)
M = mixture(ud.VP())
VALUES = torch.tensor([[0.3, NAN], [1.7, NAN], [-1.1, NAN]]).double()
FIRST = torch.tensor([True, False])
SAMPLERS = {
    "ancestral": ud.Ancestral(),
    "ddim": ud.Ancestral(0),
    "euler-maruyama": ud.EulerMaruyama(),
    "reverse-diffusion": ud.ReverseDiffusion(),
    "heun": ud.Heun(),
    "dpm2m": ud.DPM2M(),
    "predictor-corrector": ud.PredictorCorrector(ud.Ancestral()),
    "annealed-langevin": ud.AnnealedLangevin(corrections=3),
    "repaint": ud.RePaint(resamplings=2),
    "repaint-jump": ud.RePaint(ud.DPM2M(), 3, 2),
}


def as_the_sampler_has_it(denoiser, values, mask, noise):
    return ud.Known(denoiser, values, mask)


# What is promised for all of them


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("process", [ud.VE(0.01, 30.0), ud.VP(), ud.Rectified()], ids=lambda p: type(p).__name__)
def test_known_values_come_back_bit_for_bit(kind, process):
    m, sampler = mixture(process), SAMPLERS[kind]
    for noise in (None, ud.Noise(range(3))):
        x = ud.sample(ud.Known(m, VALUES, FIRST, noise), 3, sampler, 7, like=DOUBLE)
        assert torch.equal(x[:, 0], VALUES[:, 0])
    x = ud.impute(m, VALUES, FIRST, 2, sampler=sampler, steps=7)
    assert x.shape == (2, 3, 2) and torch.isfinite(x).all()
    assert torch.equal(x[..., 0], VALUES[:, 0].expand(2, -1))
    assert (x[0, :, 1] != x[1, :, 1]).all()


@pytest.mark.parametrize("kind", SAMPLERS)
def test_nothing_known_is_sampling_and_everything_known_is_the_input(kind):
    sampler, nothing = SAMPLERS[kind], torch.zeros(2, dtype=torch.bool)
    plain = ud.sample(M, 3, sampler, 6, seed=5, like=DOUBLE)
    for method in (ud.Known, as_the_sampler_has_it):
        missing = torch.full((3, 2), NAN).double()
        assert torch.equal(ud.impute(M, missing, nothing, 2, method=method, sampler=sampler, steps=6, seed=5)[0], plain)
        assert torch.equal(ud.impute(M, plain, ~nothing, 2, method=method, sampler=sampler, steps=6), torch.stack([plain] * 2))


def test_a_grid_that_stops_early_still_returns_the_values():
    x = ud.impute(M, VALUES, FIRST, sampler=ud.DPM2M(), steps=torch.tensor([1.0, 0.5, 0.2]).double())
    assert torch.equal(x[0, :, 0], VALUES[:, 0])


@pytest.mark.parametrize("kind", ["ancestral", "heun", "repaint"])
def test_a_draw_does_not_depend_on_its_batch(kind):
    """Nor on the other inputs, their masks, or the number of draws."""
    masks = torch.tensor([[True, False], [False, True], [False, False]])
    values = torch.tensor([[0.3, 0.1], [1.7, -0.4], [-1.1, 9.0]]).double()
    options = {"sampler": SAMPLERS[kind], "steps": 5, "seed": 3}
    whole = ud.impute(M, values, masks, 4, **options)
    for size in (1, 5):
        assert torch.equal(ud.impute(M, values, masks, 4, batch_size=size, **options), whole)
    assert torch.equal(ud.impute(M, values, masks, 2, **options), whole[:2])
    for i in range(3):
        assert torch.equal(ud.impute(M, values[i : i + 1], masks[i], 4, first=i, **options), whole[:, i : i + 1])
    assert torch.equal(whole[:, 1, 1], values[1, 1].expand(4)) and (whole[:, 1, 0] != values[1, 0]).all()


def test_conditions_are_shared_out_with_the_inputs_and_guidance_composes():
    """The class of each input, over batches that cut across the draws; all of component 0 lie to the right."""
    y = torch.tensor([0, 1, 0])
    guided = ud.Mix(M, M.given(None), 3.0)
    values = torch.tensor([[NAN, 0.2]] * 3).double()
    x = ud.impute(guided, values, ~FIRST, 20, sampler=ud.DPM2M(), steps=12, cond=y, batch_size=7)
    assert (x[:, [0, 2], 0] > 0.25).all() and (x[:, 1, 0] < 0.25).all()
    assert torch.equal(x[..., 1], torch.full((20, 3), 0.2).double())
    ones = ud.impute(guided, values, ~FIRST, 4, sampler=ud.DPM2M(), steps=12, cond=1)
    assert (ones[..., 0] < 0.25).all()


def test_images_and_networks():
    torch.manual_seed(0)
    shape = (2, 8, 8)
    d = ud.Denoiser(ud.nn.UNet(2, widths=(8,), blocks=1, embedding=16), ud.Rectified(), shape=shape).eval()
    values, mask = torch.rand(3, *shape, dtype=torch.float64), torch.rand(3, *shape) < 0.5
    x = ud.impute(d, values, mask, 2, sampler=ud.RePaint(resamplings=2), steps=2)
    assert x.dtype == torch.float64 and torch.equal(
        x[:, mask], values[mask].expand(2, -1)
    )  # not rounded to the network's float32


# What a known entry looks like on the way


def test_known_entries_keep_their_law_at_every_level(process):
    """N(alpha v, sigma^2), as 003's Algorithm 4 draws it: seen by the denoiser (given noise), or made by Ancestral (without).

    Mean and spread within 4.5 standard errors, 2,000 chains: a false alarm at 1e-5 each.
    """
    m, n = mixture(process), 2000
    values = torch.tensor([1.5, NAN]).double()
    grid, noise = grids.log_snr(process, 12, 0.05), ud.Noise(range(n)).fold("law")
    known = ud.Known(m, values, FIRST)
    for state in list(ud.Ancestral()(known, State(process.prior((n, 2), noise).double(), grid[0]), grid[:-1], noise))[3::4]:
        alpha, sigma = process(state.t)
        z = (state.x[:, 0] - alpha * 1.5) / sigma
        assert abs(z.mean()) < 4.5 / n**0.5 + 1.5 / sigma * process.alpha(grid[0]) * sigma / process.sigma(grid[0])
        assert abs(z.std() - 1) < 4.5 / (2 * n) ** 0.5

        class Spy(ud.AnyDenoiser):
            process = m.process

            def forward(self, x, t, cond=None):
                self.seen = x
                return m(x, t)

        spy = Spy()
        ud.Known(spy, values, FIRST, noise)(state.x, state.t)
        z = (spy.seen[:, 0] - alpha * 1.5) / sigma
        assert abs(z.mean()) < 4.5 / n**0.5 and abs(z.std() - 1) < 4.5 / (2 * n) ** 0.5
        assert torch.equal(spy.seen[:, 1], state.x[:, 1])


def test_the_prediction_adds_up_and_known_noise_is_drawn_once_per_level():
    x, t = torch.tensor([[0.4, -0.3], [1.1, 0.8], [-0.6, 1.5]]).double(), torch.tensor([0.2, 0.7, 0.2]).double()
    known = ud.Known(M, VALUES, FIRST, ud.Noise(range(3)))
    data, noise = known(x, t)
    alpha, sigma = (expand(c, x) for c in M.process(t))
    torch.testing.assert_close((alpha * data + sigma * noise)[:, 0], x[:, 0])
    for i in range(3):  # per-sample times see what they would see alone; the sampler's own known entries are not looked at
        alone = ud.Known(M, VALUES[i : i + 1], FIRST, ud.Noise([i]))(x[i : i + 1] + torch.tensor([5.0, 0]), t[i])
        torch.testing.assert_close(alone.data, data[i : i + 1])
    assert (known(x, 0.2).data[1, 1] - data[1, 1]).abs() > 1e-3
    at_the_end = known(VALUES.nan_to_num(), 0.0)
    assert torch.isfinite(at_the_end.noise).all() and torch.equal(at_the_end.data[:, 0], VALUES[:, 0])


def test_002_algorithm_2_is_what_annealed_langevin_does():
    """The printed loop, y drawn once per level and put in before each move; then the denoised mean with the values in it."""
    process, n, moves = ud.SMLD(8, 0.05, 3.0), 4, 5
    m, noise, own = mixture(process), ud.Noise(range(n)).fold("sample", 0), ud.Noise(range(n)).fold("y")
    values = torch.tensor([1.2, 0.0]).double().expand(n, 2)
    x = process.prior(torch.empty(n, 2).double(), noise)
    for i, t in enumerate(process.levels[:-1]):
        y = values + process.sigma(t) * own.fold("known", float(t).hex()).normal(values)
        for j in range(moves):
            x = torch.where(FIRST, y, x)
            x = ud.Langevin(0.16)(m, State(x, t), noise.fold("step", i).fold("correct", j)).x
    x = m(torch.where(FIRST, y, x), t).data
    sampler = ud.AnnealedLangevin(corrections=moves)
    ours = ud.sample(ud.Known(m, values, FIRST, own), n, sampler, process.levels, like=DOUBLE)
    torch.testing.assert_close(ours, torch.where(FIRST, values, x), rtol=1e-9, atol=1e-9)


def test_003_algorithm_4_is_what_euler_maruyama_does():
    """The printed loop on a VE SDE (g in place of their sigma, noise on the complement), returning the mean."""
    process, n = ud.VE(0.01, 10.0), 4
    m, noise, own = mixture(process), ud.Noise(range(n)).fold("sample", 0), ud.Noise(range(n)).fold("omega")
    y, grid = torch.tensor([1.2, 0.0]).double().expand(n, 2), grids.log_snr(process, 30)
    x = process.prior(torch.empty(n, 2).double(), noise)
    for k, (t, s) in enumerate(itertools.pairwise(grid)):
        omega = y + process.sigma(t) * own.fold("known", float(t).hex()).normal(y)
        x = torch.where(FIRST, omega, x)
        g, dt, score = process.diffusion(t), t - s, ud.score_at(m, x, t)
        if k < len(grid) - 2:
            x = x + g**2 * score * dt + g * dt.sqrt() * noise.fold("step", k).normal(x)
        else:  # the mean of the last step
            x = x + process.sigma(t) ** 2 * score
    ours = ud.sample(ud.Known(m, y, FIRST, own), n, ud.EulerMaruyama(), grid, like=DOUBLE)
    torch.testing.assert_close(ours, torch.where(FIRST, y, x), rtol=1e-8, atol=1e-8)


def test_repaint_is_the_printed_algorithm():
    """Lugmayr et al. 2022, Algorithm 1 with stretches of 2 and 3 walks, literally; r = 1 is the sampler itself."""
    process = ud.DDPM(7, 1e-2, 0.4)
    m, noise, sampler = mixture(process), ud.Noise(range(4)).fold("sample", 0), ud.Ancestral(variance="beta")
    x, t = process.prior(torch.empty(4, 2).double(), noise), process.levels
    for i in range(0, 6, 2):
        for k in range(3):
            at = noise.fold("again", k) if k else noise
            if k:
                ratio, std = process.alpha(t[i]) / process.alpha(t[i + 2]), 0
                std = (process.sigma(t[i]) ** 2 - ratio**2 * process.sigma(t[i + 2]) ** 2).sqrt()
                x = ratio * x + std * at.fold("back", i).normal(x)
            for j in (i, i + 1):
                x = sampler.step(m, State(x, t[j]), t[j + 1], at.fold("step", j)).x
    ours = ud.sample(m, 4, ud.RePaint(sampler, 2, 3), t, like=DOUBLE)
    torch.testing.assert_close(ours, m(x, t[6]).data, rtol=1e-9, atol=1e-9)
    for plain in (ud.Ancestral(), ud.DPM2M(), ud.Heun()):
        for jump in (1, 3):
            assert torch.equal(ud.sample(m, 4, ud.RePaint(plain, jump, 1), t), ud.sample(m, 4, plain, t))


# How far from the exact conditional


def gaussian(rho=0.8):
    return ud.GaussianMixture([[0.0, 0.0]], [[[1.0, rho], [rho, 1.0]]], process=ud.VP())


def second(sampler, steps, n=1500, method=ud.Known, rho=0.8):
    """Mean and standard deviation of x_2 where x_1 = 1.5; exact: 1.2 and 0.6 (for rho = 0.8)."""
    values = torch.tensor([[1.5, NAN]]).double()
    x = ud.impute(gaussian(rho), values, FIRST, n, method=method, sampler=sampler, steps=steps, batch_size=n, grid=grids.log_snr)
    return x[:, 0, 1].mean().item(), x[:, 0, 1].std().item()


def test_replacement_is_biased_and_more_steps_do_not_help():
    """The mean is off by 0.46 of 1.2 (SDE) and 0.68 (flow), whatever the steps and whoever draws the known noise.

    Tolerance 0.07: over 4 standard errors of the mean of 1,500 draws.
    """
    for steps in (50, 200):
        assert second(ud.Ancestral(), steps)[0] == pytest.approx(1.2 - 0.46, abs=0.07)
        assert second(ud.DPM2M(), steps)[0] == pytest.approx(1.2 - 0.68, abs=0.07)
    mean, std = second(ud.Ancestral(), 100, method=as_the_sampler_has_it)
    assert mean == pytest.approx(1.2 - 0.46, abs=0.07) and std == pytest.approx(0.71, abs=0.05)
    assert second(ud.DPM2M(), 30, rho=0.0)[0] == pytest.approx(0, abs=0.1)  # nothing to hear from each other: no bias


def test_repaint_and_langevin_converge_to_the_conditional():
    """Each resampling or move brings the mean nearer: off by 0.54, 0.23, 0.05, 0.02 of 1.2; Langevin by 0.99 and 0.09.

    1,000 draws: the standard error of a mean is 0.02, of a spread 0.015; the margins are four of them or more.
    """
    off = [1.2 - second(ud.RePaint(resamplings=r), 20, 1000)[0] for r in (1, 3, 10)]
    assert off[0] > 0.44 and 0.13 < off[1] < 0.33 and off[2] < 0.14
    mean, std = second(ud.RePaint(resamplings=25), 20, 1000)
    assert mean == pytest.approx(1.2, abs=0.1) and std == pytest.approx(0.6, abs=0.07)
    few, many = (1.2 - second(ud.AnnealedLangevin(ud.sampler.Hold(), ud.Langevin(0.3), c), 10, 1000)[0] for c in (2, 50))
    assert few > 0.4 and many < 0.2


def mixture5():
    """Three strongly correlated components in five dimensions."""
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    means = 1.5 * torch.randn(3, 5, generator=generator, dtype=torch.float64)
    return ud.GaussianMixture(means, a @ a.mT / 10 + 0.05 * torch.eye(5).double(), [0.3, 0.3, 0.4], ud.VP())


FIVE = torch.tensor([True, False, True, False, False])


def test_on_a_mixture_repaint_is_nearer_than_replacement():
    """Mean energy distance to the exact conditional over 6 inputs, 300 draws each: 0.35 replaced, 0.14 with 10 walks.

    Two sets of exact draws are 0.01 apart.
    """
    law = mixture5()
    truth = law.sample(6, ud.Noise(range(6)).fold("truth"))
    exact = torch.stack([law.conditional(v, FIVE).sample(300, ud.Noise(range(300)).fold("e", i)) for i, v in enumerate(truth)], 1)
    again = torch.stack([law.conditional(v, FIVE).sample(300, ud.Noise(range(300)).fold("a", i)) for i, v in enumerate(truth)], 1)

    def distance(x):
        return sum(energy_distance(x[:, i], exact[:, i]).item() for i in range(6)) / 6

    def drawn(sampler, steps):
        return ud.impute(law, truth, FIVE, 300, sampler=sampler, steps=steps, batch_size=1800)[..., ~FIVE]

    floor = distance(again)
    replaced, repainted = distance(drawn(ud.Ancestral(), 60)), distance(drawn(ud.RePaint(), 30))
    assert floor < 0.03
    assert replaced > 0.2
    assert repainted < replaced / 2


@pytest.mark.parametrize(
    ("sampler", "steps", "seen"),
    [(ud.Ancestral(), 100, (0.77, 0.51)), (ud.DPM2M(), 50, (0.72, 0.30)), (ud.RePaint(), 25, (0.81, 0.80))],
    ids=["replaced", "by the flow", "repaint"],
)
def test_coverage_of_credible_intervals(sampler, steps, seen):
    """The exact probability of the central 80 % of 1,000 draws, where x_1 is 1.5 and where it is 3: `seen` of 0.8.

    The quantiles' errors move it by 0.02 (one standard error), so 0.08 is four.
    """
    for x1, expected in zip((1.5, 3.0), seen, strict=True):
        values = torch.tensor([[x1, NAN]]).double()
        x = ud.impute(gaussian(), values, FIRST, 1000, sampler=sampler, steps=steps, batch_size=1000, grid=grids.log_snr)[:, 0, 1]
        low, high = x.quantile(0.1), x.quantile(0.9)
        law = torch.distributions.Normal(torch.tensor(0.8 * x1).double(), 0.6)
        assert (law.cdf(high) - law.cdf(low)).item() == pytest.approx(expected, abs=0.08)


# Masks and mistakes


def test_named_masks():
    for name in NAMES:
        mask = named_mask(name.replace("P", "0.5"), (3, 8, 8))
        assert mask.shape == (3, 8, 8) and mask.dtype == torch.bool and 0 < (~mask).sum() < mask.numel()
        assert torch.equal(mask[0], mask[1])
    assert not named_mask("left", (1, 4, 6))[0, :, :3].any() and named_mask("left", (1, 4, 6))[0, :, 3:].all()
    assert torch.equal(named_mask("top", (1, 6, 4)), named_mask("bottom", (1, 6, 4)).flip(1))
    strip = named_mask("middle-vertical", (1, 28, 28))[0, 0]
    assert (~strip).nonzero().flatten().tolist() == list(range(9, 18))  # a third
    assert (~named_mask("middle-vertical", (1, 8, 8))[0, 0]).nonzero().flatten().tolist() == [2, 3, 4]  # 3 of 8, not half of it
    assert torch.equal(named_mask("middle-horizontal", (1, 28, 28))[0], named_mask("middle-vertical", (1, 28, 28))[0].T)
    assert (~named_mask("centre", (1, 8, 8))).sum() == 16
    assert named_mask("left", (5,)).tolist() == [False, False, True, True, True]
    holes = ~named_mask("random:0.3", (1, 100, 100))
    assert abs(holes.double().mean() - 0.3) < 5 * math.sqrt(0.21 / 1e4)
    assert not torch.equal(~holes, named_mask("random:0.3", (1, 100, 100), seed=1))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("midle-vertical", (1, 8, 8), 'did you mean "middle-vertical"'),
        ("top", (5,), "needs images"),
        ("random", (1, 8, 8), "write random:0.5"),
        ("random:1.5", (1, 8, 8), "write random:0.5"),
    ],
)
def test_illegal_names_of_masks(name, shape, message):
    with pytest.raises(ud.UndriftError, match=message):
        named_mask(name, shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ud.Known(M, VALUES, FIRST.double()), "must be bool"),
        (lambda: ud.Known(M, VALUES, torch.tensor([True])), "does not fit"),
        (lambda: ud.Known(M, VALUES, ~FIRST), "3 known values are not finite"),
        (lambda: ud.sample(ud.Known(M, VALUES, FIRST), 5, like=DOUBLE), "one row per sample"),
        (lambda: ud.impute(M, VALUES, FIRST, 0), "at least 1"),
        (lambda: ud.impute(M, VALUES, FIRST, first=-1), "at least 0"),
        (lambda: ud.impute(M, VALUES[:0], FIRST), "B >= 1"),
        (lambda: ud.impute(M, torch.ones(2, 2, dtype=torch.int64), FIRST), "floats"),
        (lambda: ud.impute(M, VALUES, FIRST, cond=torch.tensor([0, 1])), "2 rows for 3 samples"),
        (lambda: ud.RePaint(jump=0), "at least 1"),
        (lambda: ud.RePaint(resamplings=0), "at least 1"),
    ],
)
def test_what_cannot_be_imputed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
