"""Classifier-free guidance on exact mixtures, where the conditional and the unconditional are both known."""

import pytest
import torch

import undrift as ud
from conftest import Counted, mixture, same_law
from guidance.tilted_law import compare

DOUBLE = torch.empty(0, dtype=torch.float64)
M = mixture(ud.VP())
X, Y = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1, 1, 0])


def cfg(scale=None, w=None, denoiser=M):
    return ud.Mix(denoiser, denoiser.given(None), scale, w=w)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_scale_zero_one_and_between(t):
    c, u = M(X, t, Y), M(X, t)
    for scale in (0, 0.0, 1, 1.0, 0.5, 3.0, -2.0):
        for guided, cc, uu in zip(cfg(scale)(X, t, Y), c, u, strict=True):
            torch.testing.assert_close(guided, uu + scale * (cc - uu))


def test_w_is_the_papers_convention():
    """000 eq. 21: (1 + w) c - w u; its used values map to ours by scale = 1 + w."""
    for w in (-4, -2, -1, -0.5, 0, 1, 10):
        c, u = M(X, 0.4, Y).noise, M(X, 0.4).noise
        torch.testing.assert_close(cfg(w=w)(X, 0.4, Y).noise, (1 + w) * c - w * u)
    with pytest.raises(ValueError, match="not both"):
        cfg(2.0, 1.0)


def test_guided_score_is_the_classifier_form():
    """u + s (c - u) = u + s grad log p(y | x): Bayes, checked with the exact noisy classifier (000 eq. 20, corrected)."""
    x = X.clone().requires_grad_()
    log_p = M.posterior(x, 0.3).log()[torch.arange(6), Y].sum()
    gradient = torch.autograd.grad(log_p, x)[0]
    expected = ud.score_at(M, X, 0.3) + 2.5 * gradient
    torch.testing.assert_close(ud.score_at(cfg(2.5).given(Y), X, 0.3), expected)


def test_each_sample_may_have_its_own_scale():
    scales = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, 4.0], dtype=torch.float64)
    together = cfg(scales)(X, 0.4, Y).data
    for i, s in enumerate(scales.tolist()):
        torch.testing.assert_close(together[i : i + 1], cfg(s)(X[i : i + 1], 0.4, Y[i : i + 1]).data)


def test_scale_one_samples_the_class_and_minus_one_avoids_it():
    """Bayes at 1 (two-sample test, p > 1/201); anti-conditional: asked for component 0 (30 %), few are."""
    y = torch.zeros(800, dtype=torch.int64)
    x = ud.sample(cfg(1.0), 800, ud.Ancestral(), 100, cond=y, like=DOUBLE)
    assert same_law(x, M.draw(y, ud.Noise(range(800)).fold("truth"))) > 1 / 201
    away = [ud.sample(cfg(s), 800, ud.DPM2M(), 50, cond=y, like=DOUBLE) for s in (-1.0, -5.0)]
    shares = [(M.posterior(x)[:, 0] > 0.5).double().mean() for x in away]
    assert shares[0] < 0.1 and shares[1] < 0.02


def test_higher_scale_means_more_certain():
    y = torch.zeros(400, dtype=torch.int64)
    certain = [M.posterior(ud.sample(cfg(s), 400, steps=30, cond=y, like=DOUBLE))[:, 0].mean() for s in (0.0, 0.5, 1.0, 3.0)]
    assert certain == sorted(certain) and certain[0] < 0.4 and certain[-1] > 0.999


def test_one_network_call_for_both_branches():
    calls = []

    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            calls.append((len(x), cond))
            return x * (1 + cond.to(x)[:, None])

    d = ud.Denoiser(Net(), ud.VP())
    guided = cfg(2.0, denoiser=d)
    both = guided(X.float(), 0.5, Y)
    assert len(calls) == 1 and calls[0][0] == 12 and calls[0][1].tolist() == Y.tolist() + [-1] * 6
    c, u = d(X.float(), 0.5, Y), d(X.float(), 0.5, torch.full_like(Y, -1))
    torch.testing.assert_close(both.data, u.data + 2 * (c.data - u.data))
    calls.clear()
    cfg(1.0, denoiser=d)(X.float(), torch.full((6,), 0.5), Y)
    assert calls[0][0] == 6


def test_autoguidance_gives_both_the_condition():
    strong, weak = Counted(M), Counted(mixture(ud.VP(), "isotropic"))
    guided = ud.Mix(strong, weak, 2.0).given(Y)(X, 0.4)
    expected = 2 * M(X, 0.4, Y).data - weak.denoiser(X, 0.4, Y).data
    torch.testing.assert_close(guided.data, expected)
    assert strong.calls == weak.calls == 1


def test_two_processes_do_not_mix():
    with pytest.raises(ValueError, match="needs one process"):
        ud.Mix(M, mixture(ud.VE()), 2.0)


def test_composition_is_the_sum_of_the_directions(process):
    law = mixture(process)
    t = torch.tensor(process.t_min + 0.4 * (process.t_max - process.t_min), dtype=torch.float64)
    a, b = law.given(torch.zeros(6, dtype=torch.int64)), law.given(torch.ones(6, dtype=torch.int64))
    u, x = law.given(None), process.sigma(t).clamp(min=1) * X
    found = ud.Compose(u, (a, 2.0), (b, -0.5))(x, t)
    for got, uu, aa, bb in zip(found, u(x, t), a(x, t), b(x, t), strict=True):
        torch.testing.assert_close(got, uu + 2.0 * (aa - uu) - 0.5 * (bb - uu))
    for got, wanted in zip(ud.Compose(u, (law, 3.0))(x, t, Y), cfg(3.0, denoiser=law)(x, t, Y), strict=True):
        torch.testing.assert_close(got, wanted)
    alpha, sigma = process(t)
    torch.testing.assert_close(alpha * found.data + sigma * found.noise, x)


def test_this_and_that_and_this_without_that(process):
    """A product of two mixtures on lines: right (with chance 0.6) and above (0.7) are independent, so both at scale 1 is Bayes."""
    means, weights = [[1.2, 1.2], [1.2, -1.2], [-1.2, 1.2], [-1.2, -1.2]], [0.42, 0.18, 0.28, 0.12]
    right, above = (ud.GaussianMixture(means, 0.5, weights, process, labels) for labels in ([0, 0, 1, 1], [0, 1, 0, 1]))
    corner = ud.GaussianMixture(means[:1], 0.5, None, process)
    zeros, u = torch.zeros(6, dtype=torch.int64), right.given(None)
    t = torch.tensor(process.t_min + 0.4 * (process.t_max - process.t_min), dtype=torch.float64)
    x = process.sigma(t).clamp(min=1) * X
    both = ud.Compose(u, (right.given(zeros), 1.0), (above.given(zeros), 1.0))
    for got, wanted in zip(both(x, t), corner(x, t), strict=True):
        torch.testing.assert_close(got, wanted)
    n, zeros = 300, torch.zeros(300, dtype=torch.int64)
    without = ud.Compose(u, (right.given(zeros), 2.0), (above.given(zeros), -2.0))
    drawn = ud.sample(without, n, ud.DPM2M(), 30, like=DOUBLE, batch_size=n)
    assert ((drawn[:, 0] > 0) & (drawn[:, 1] < 0)).double().mean() > 0.55  # 0.18 without, 0.3 by the right alone


def test_a_negative_condition_is_a_mixture_with_another_weak_side():
    bad = torch.zeros(400, dtype=torch.int64)
    x = ud.sample(ud.Mix(M.given(None), M.given(bad), 4.0), 400, ud.DPM2M(), 50, like=DOUBLE, batch_size=400)
    assert (M.posterior(x)[:, 0] > 0.5).double().mean() < 0.05  # 30 % without


def test_any_number_of_sides_of_one_network_share_one_call():
    calls = []

    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            calls.append((len(x), len(level), cond.tolist()))
            return x * (1 + cond.to(x)[:, None]) * level[:, None]

    d, other = ud.Denoiser(Net(), ud.VP()), Counted(ud.Denoiser(Net(), ud.VP()))
    x, t = X.float(), torch.linspace(0.2, 0.8, 6)
    a, b = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    found = ud.Compose(d.given(None), (d.given(a), 2.0), (other, 0.5), (d.given(b), -1.0))(x, t, Y)
    assert [n for n, *_ in calls] == [18, 6] and other.calls == 1
    assert calls[0] == (18, 18, [-1] * 6 + [0] * 6 + [1] * 6) and calls[1][2] == Y.tolist()
    u, strong, low, off = d(x, t, torch.full_like(Y, -1)), d(x, t, a), other.denoiser(x, t, Y), d(x, t, b)
    expected = u.data + 2 * (strong.data - u.data) + 0.5 * (low.data - u.data) - (off.data - u.data)
    torch.testing.assert_close(found.data, expected)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_an_interval_guides_inside_and_not_outside(t):
    guided, low, high = cfg(4.0), 0.3, 3.0
    limited = ud.Interval(guided, M, low, high)
    ratio = torch.exp(-M.process.log_snr(torch.tensor(t).double()) / 2)
    wanted = guided if low <= ratio <= high else M
    for a, b in zip(limited(X, t, Y), wanted(X, t, Y), strict=True):
        assert torch.equal(a, b)


def test_an_interval_is_each_samples_own_and_cheaper():
    strong, weak = Counted(M), Counted(M.given(None))
    limited = ud.Interval(ud.Mix(strong, weak, 4.0), strong, 0.3, 3.0)
    t = torch.tensor([0.01, 0.05, 0.4, 0.5, 0.9, 1.0], dtype=torch.float64)
    together = limited(X, t, Y)
    for i in range(6):
        torch.testing.assert_close(together.data[i], limited(X[i : i + 1], t[i], Y[i : i + 1]).data[0])
        torch.testing.assert_close(together.noise[i], limited(X[i : i + 1], t[i], Y[i : i + 1]).noise[0])
    strong.calls = weak.calls = 0
    ud.sample(limited, 4, ud.DPM2M(), 20, cond=0, like=DOUBLE)
    ratio = torch.exp(-M.process.log_snr(ud.times.straight(M.process, 20)[:-1]) / 2)
    inside = int(((ratio >= 0.3) & (ratio <= 3.0)).sum())
    assert strong.calls == 20 and weak.calls == inside and 0 < inside < 15
    rectified = mixture(ud.Rectified())
    everywhere = ud.Interval(cfg(3.0, denoiser=rectified), rectified, 0, float("inf"))
    for end in (0.0, 1.0):  # sigma = 0 and alpha = 0 belong to [0, inf]
        assert torch.equal(everywhere(X, end, Y).data, cfg(3.0, denoiser=rectified)(X, end, Y).data)


@pytest.mark.parametrize("phi", [0.0, 0.3, 1.0])
def test_rescaling_matches_the_strong_sides_deviation_per_sample(phi, process):
    """Lin et al. 2024: each sample's own standard deviation, a blend of the two; and the halves still add up."""
    means = torch.stack([torch.linspace(-2, 2, 12), torch.linspace(1, -2, 12).abs()]).double()
    law = ud.GaussianMixture(means, 0.4, [0.3, 0.7], process)
    noise, y = ud.Noise(range(6)), Y
    strong, guided = law, ud.Mix(law, law.given(None), 5.0, rescale=phi)
    for f in (0.05, 0.5, 0.95):
        t = torch.tensor(process.t_min + f * (process.t_max - process.t_min), dtype=torch.float64)
        x = process.perturb(law.draw(y, noise), t, noise.fold("eps").normal(torch.empty(6, 12).double()))
        found, plain = guided(x, t, y), cfg(5.0, denoiser=law)(x, t, y)
        a, b, c = (p.data.std(1) for p in (found, plain, strong(x, t, y)))
        torch.testing.assert_close(a, (1 - phi) * b + phi * c)
        alpha, sigma = process(t)
        torch.testing.assert_close(alpha * found.data + sigma * found.noise, x, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(guided(x[2:3], t, y[2:3]).data, found.data[2:3])
        torch.testing.assert_close(found.data * plain.data[:, :1], plain.data * found.data[:, :1])  # a factor, nothing else
    start = torch.tensor(process.t_min, dtype=torch.float64)
    assert all(torch.isfinite(half).all() for half in guided(x, start, y))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ud.Mix(M, M, 2.0, rescale=1.5), "a share between"),
    (lambda: ud.Interval(M, M, 3.0, 1.0), "0 <= low < high"),
    (lambda: ud.Interval(M, mixture(ud.VE()), 0.0, 1.0), "`Interval` needs one process"),
    (lambda: ud.Compose(M, (mixture(ud.VE()), 1.0)), "`Compose` needs one process"),
    (lambda: ud.Compose(M, (M.given(Y), torch.ones(3)))(X, 0.4), "for a batch of 6"),
    (lambda: ud.sample(cfg(torch.linspace(0, 2, 10)), 10, cond=1, batch_size=4), "batch of 4.*batch_size"),
])  # fmt: skip
def test_what_cannot_be_mixed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_scale_for_each_of_all_samples_in_one_batch():
    scales = torch.linspace(0, 2, 10).double()
    x = ud.sample(cfg(scales), 10, cond=1, batch_size=10, like=DOUBLE)
    torch.testing.assert_close(x[7:8], ud.sample(cfg(scales[7].item()), 1, cond=1, first=7, like=DOUBLE))


def test_autoguidance_sharpens_what_a_wider_model_blurs():
    """The weak model is the law blurred; away from it the samples keep to the law's middle (Karras et al. 2024, fig. 1)."""
    law = ud.GaussianMixture([[2.0], [-2.0]], 0.5, None, ud.VP())
    weak = ud.GaussianMixture([[2.0], [-2.0]], 0.9, None, ud.VP())
    y, spread = torch.zeros(600, dtype=torch.int64), []
    for scale in (0.0, 1.0, 1.5, 2.0):
        x = ud.sample(ud.Mix(law, weak, scale), 600, ud.Heun(), 40, cond=y, like=DOUBLE, batch_size=600)
        spread.append(x.std().item())
    assert spread == sorted(spread, reverse=True)
    assert spread[0] == pytest.approx(0.9, rel=0.1) and spread[1] == pytest.approx(0.5, rel=0.1) and spread[3] < 0.4


def test_guided_diffusion_is_not_the_tilted_law():
    """Exact at scales 0 and 1 (but for the prior's mismatch, below 0.005), and further from p(x|y)^s p(x)^(1-s) at every other."""
    found = {scale: compare(scale, 100) for scale in (0.0, 0.5, 1.0, 2.0, 4.0)}
    assert found[0.0]["distance"] < 0.006 and found[1.0]["distance"] < 0.006
    assert found[0.5]["distance"] == pytest.approx(0.293, abs=0.01)
    assert found[2.0]["distance"] == pytest.approx(0.364, abs=0.01)
    assert found[4.0]["distance"] == pytest.approx(0.792, abs=0.02)
    for scale in (2.0, 4.0):  # further out and narrower than the law
        (m, s), (mean, std) = found[scale]["tilted"], found[scale]["flow"]
        assert mean > m + 0.3 and std < 0.8 * s
