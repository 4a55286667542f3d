"""Edits keep the one equation, x_t = alpha data + sigma noise, and touch nothing else."""

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift.process import expand

X = 2 * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_data_and_noise_still_add_up(process, times):
    m, x = mixture(process), X[[0, 1, 2, 3, 4, 5, 0]]
    edited, plain = ud.Edit(m, ud.clip(-0.5, 0.5))(x, times), m(x, times)
    assert edited.data.abs().max() <= 0.5 and (plain.data.abs() > 0.5).any()
    alpha, sigma = (expand(c, x) for c in process(times))
    torch.testing.assert_close(alpha * edited.data + sigma * edited.noise, x)
    kept = plain.data.abs() <= 0.5
    assert torch.equal(edited.noise[kept], plain.noise[kept])  # to the bit


def test_an_edit_that_changes_nothing_is_nothing():
    m = mixture(ud.VP())
    for a, b in zip(ud.Edit(m, ud.clip(-9, 9))(X, 0.3), m(X, 0.3), strict=True):
        assert torch.equal(a, b)


def test_without_noise_there_is_none():
    """At sigma = 0: the data are edited, the noise is finite, zero where they changed; and so is its gradient."""
    x = X.clone().requires_grad_()
    data, noise = ud.Edit(mixture(ud.VP()), ud.clip(-0.5, 0.5))(x, 0.0)
    torch.testing.assert_close(data, x.clamp(-0.5, 0.5))
    assert (noise == 0)[x.abs() > 0.5].all()
    assert torch.isfinite(torch.autograd.grad(noise.sum() + data.sum(), x)[0]).all()


def test_each_sample_has_its_own_time_and_threshold():
    """Dynamic thresholding by hand, row by row (Saharia et al. 2022): s = quantile of |data|, at least 1; data clamped and / s."""
    m = ud.GaussianMixture(3 * torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0)), 0.3)
    x, t = m.sample(4, ud.Noise(range(4))), torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    x[3] *= 0.1
    edited, plain = ud.Edit(m, ud.dynamic_threshold(0.9))(x, t), m(x, t)
    for i in range(4):
        s = max(1.0, float(plain.data[i].abs().flatten().quantile(0.9)))
        torch.testing.assert_close(edited.data[i], plain.data[i].clamp(-s, s) / s)
        alone = ud.Edit(m, ud.dynamic_threshold(0.9))(x[i : i + 1], t[i : i + 1])
        assert torch.equal(edited.data[i : i + 1], alone.data) and torch.equal(edited.noise[i : i + 1], alone.noise)
    small = ud.Edit(mixture(ud.VP()), lambda data, x, t: data / 10)
    assert torch.equal(ud.Edit(small, ud.dynamic_threshold())(X, 0.3).data, small(X, 0.3).data)  # below 1: as it is


def test_edits_compose_with_guidance_samplers_and_variance_heads():
    m = mixture(ud.VP())
    clipped = ud.Edit(ud.Mix(m, m.given(None), 4.0), ud.clip(-1, 1))
    x = ud.sample(clipped, 50, ud.Ancestral(), 30, cond=torch.zeros(50, dtype=torch.int64))
    assert x.abs().max() <= 1 and ((x[:, 0] > 0).double().mean() > 0.9)

    class Head(ud.AnyDenoiser):
        process, shape = m.process, m.shape

        def forward(self, x, t, cond=None):
            return m(x, t, cond)

        def with_fraction(self, x, t, cond=None):
            return m(x, t, cond), torch.full_like(x, 0.25)

    prediction, fraction = ud.Edit(Head(), ud.clip(-0.1, 0.1)).with_fraction(X, 0.5)
    assert prediction.data.abs().max() <= 0.1 and (fraction == 0.25).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ud.clip(1, 1), "low < high"),
        (lambda: ud.dynamic_threshold(0), r"must be in \(0, 1\]"),
        (lambda: ud.dynamic_threshold(1.1), r"must be in \(0, 1\]"),
        (lambda: ud.Edit(mixture(), lambda data, x, t: data[:, :1])(X, 0.3), r"made data of shape \(6, 1\)"),
    ],
)
def test_illegal_edits(call, message):
    with pytest.raises(ValueError, match=message):
        call()
