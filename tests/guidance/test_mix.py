"""Classifier-free guidance on exact mixtures, where the conditional and the unconditional are both known."""

import pytest
import torch

import undrift as ud
from conftest import Counted, mixture, same_law

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
