"""Filling in by the posterior's gradient, against the exact conditional."""

import torch

import undrift as ud
from undrift.inverse.known import measured

N = 1500
RHO = ud.GaussianMixture(torch.zeros(1, 2), torch.tensor([[[1.0, 0.8], [0.8, 1.0]]]), process=ud.VP())
VALUES, MASK = torch.tensor([[1.5, 0.0]], dtype=torch.float64), torch.tensor([True, False])


def test_on_a_gaussian_it_is_the_exact_conditional():
    """Moment matching is exact there: mean 1.2 and standard deviation 0.6 within 5 standard errors and 3 % for the steps."""
    x = ud.impute(RHO, VALUES, MASK, N, method=measured, sampler=ud.Ancestral(), steps=100, batch_size=N)[:, 0]
    assert (x[:, 0] == 1.5).all()
    assert abs(x[:, 1].mean() - 1.2) < 5 * 0.6 / N**0.5 + 0.036
    assert abs(x[:, 1].std() - 0.6) < 5 * 0.6 / (2 * N) ** 0.5 + 0.018


def test_nothing_known_is_the_denoiser_itself_and_masks_may_differ_by_row():
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    assert measured(RHO, torch.zeros(3, 2), nothing, ud.Noise(range(3))) is RHO
    masks = torch.tensor([[True, False], [False, True], [True, True]])
    values = torch.tensor([[1.5, 9.0], [9.0, 1.5], [0.3, -0.2]], dtype=torch.float64)
    x = ud.impute(RHO, values, masks, 400, method=measured, sampler=ud.Ancestral(), steps=50, batch_size=1200)
    assert (x[:, 0, 0] == 1.5).all() and (x[:, 1, 1] == 1.5).all() and torch.equal(x[0, 2], values[2])
    assert (x[:, 0, 1].mean() - x[:, 1, 0].mean()).abs() < 5 * 0.6 * (2 / 400) ** 0.5
    assert (x[:, 0, 1].mean() - 1.2).abs() < 0.25
