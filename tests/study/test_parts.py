"""The parts of studies that compute something of their own."""

import pytest
import torch

import undrift as ud
from undrift.study.p000_fig3_steps import STEPS, UnitRange, both
from undrift.study.p001_figs5to7 import half
from undrift.study.p001_langevin import LAW, distance
from undrift.study.p001_samplers import SHARES
from undrift.study.slide_algorithms import BAR, BETA, CHAIN, TILDE, law, posterior_mean


def test_pictures_from_0_to_1_have_the_last_noise_of_the_paper():
    """000's data are half as wide as ours: its process, and the standard deviation of its last step's noise, in closed form."""
    t, process = torch.linspace(0.01, 1, 9, dtype=torch.float64), UnitRange()
    torch.testing.assert_close(process.diffusion(t), ud.VP().diffusion(t))
    torch.testing.assert_close(process.drift(t), ud.VP().drift(t))
    last = [torch.tensor(1 / n, dtype=torch.float64) for n in STEPS]
    assert [float(process.diffusion(s) * s.sqrt()) for s in last] == pytest.approx([0.234, 0.100, 0.032, 0.011], abs=5e-4)


def test_one_run_ends_with_noise_or_with_the_denoised_mean():
    """Of a law that is nearly a point the denoised end is the point; the noisy end is as far off as that step's noise, at least."""
    point = ud.GaussianMixture([[0.3, -0.4, 0.0]], 1e-3).using(UnitRange())
    noisy, clean = both(point, 20, torch.zeros(400, dtype=torch.int64), (3,))
    assert (clean - torch.tensor([0.3, -0.4, 0.0])).abs().max() < 0.01
    assert (noisy - noisy.mean(0)).std() > 2 * 0.234  # twice: from -1 to 1


def test_a_curve_is_settled_where_it_stays_above_one_half():
    """With the ends of its interval: where the upper, and where the lower ends of the shares stay above one half."""
    curve = [0.0, 0.6, 0.4] + [0.7] * 18
    assert half(curve, 10**6) == (SHARES[3],) * 3 and half([0.9] * 21, 100)[0] == 0 and half([0.1] * 21, 100)[0] == 1
    rising = [k / 20 for k in range(21)]
    at, soonest, latest = half(rising, 100)
    assert soonest < at == SHARES[10] < latest and half(rising, 10**6) == (SHARES[10], SHARES[10], SHARES[11])


def test_the_distance_on_the_line_is_kolmogorov_s():
    """Of exact draws below its 1 % bound, of a shifted law the shift in the distribution function."""
    exact = LAW.sample(2000, ud.Noise(range(2000)))
    assert distance(exact) < 1.63 / 2000**0.5
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    cdf = (torch.special.ndtr(x[:, None] - LAW.means[:, 0]) * LAW.log_weights.exp()).sum(1)
    gap = (cdf[100:] - cdf[:-100]).abs().max()  # a shift by 0.4
    assert distance(exact + 0.4) == pytest.approx(gap.item(), abs=1.63 / 2000**0.5)


def test_the_printed_step_is_that_of_the_chain():
    """`posterior_mean` and `TILDE` against `Ancestral` on the same chain."""
    m, noise = law(CHAIN), ud.Noise(range(50))
    t, s = (torch.tensor(k / CHAIN.steps, dtype=torch.float64) for k in (120, 119))
    x = m.sample(50, noise, t)
    ours = ud.Ancestral().step(m, ud.State(x, t), s, noise.fold("z")).x
    torch.testing.assert_close(ours, posterior_mean(x, m(x, t), 120) + TILDE[120] * noise.fold("z").normal(x))
    torch.testing.assert_close(BAR, CHAIN.alpha(torch.arange(201, dtype=torch.float64) / 200) ** 2)
    assert BETA[0] == 0 and BETA[200] == 0.1
