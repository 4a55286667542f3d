"""Filling in by the posterior's gradient, against the exact conditional."""

import pytest
import torch

import undrift as ud
from undrift.error import UndriftError
from undrift.imputation.measured import by_particles, measured

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


def test_particles_choose_between_humps_as_often_as_the_exact_conditional_does():
    """Share of the right hump within 5 standard errors (6e-7) and 0.03 for steps and particles."""
    law = ud.GaussianMixture([[1.0, 3.0], [-1.0, -3.0]], 0.8, process=ud.VP())
    values = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    exact = law.given_observation(torch.tensor([[1.0, 0.0]]), torch.tensor([0.5]), 0.1).sample(20_000, ud.Noise(range(20_000)))
    wanted = (exact[:, 1] > 0).double().mean()
    x = by_particles(law, values, MASK, 600, steps=40, noise_std=0.1)[:, 0]
    assert (x[:, 0] == 0.5).all()
    assert abs((x[:, 1] > 0).double().mean() - wanted) < 5 * (wanted * (1 - wanted) / 600) ** 0.5 + 0.03
    assert abs(x[x[:, 1] > 0, 1].mean() - 3.0) < 0.2


def test_particles_of_all_nothing_and_rows_of_their_own():
    masks = torch.tensor([[True, True], [False, False], [True, False], [True, False]])
    values = torch.tensor([[0.3, -0.2], [9.0, 9.0], [1.5, 9.0], [1.5, 9.0]], dtype=torch.float64)
    x = by_particles(RHO, values, masks, 300, steps=30)
    assert torch.equal(x[7, 0], values[0])
    free = ud.sample(RHO, (300, 2), ud.Ancestral(), 30, grid=ud.times.straight, first=2**20, like=values)
    assert torch.equal(x[:, 1], free)
    assert not torch.equal(x[:, 2], x[:, 3])  # inputs that are alike still have noise of their own
    assert torch.equal(by_particles(RHO, values[2:3], masks[2:3], 300, steps=30, first=2)[:, 0], x[:, 2])


def test_a_model_fills_in_by_particles_and_refuses_a_sampler(tiny_run):
    model = ud.load(tiny_run)
    x = torch.zeros(2, 1, 8, 8)
    x[:, :, :, 4:] = torch.nan
    filled = model.impute(x, draws=2, method="particles", steps=3, cond=[3, 7], particles=2)
    assert filled.shape == (2, 2, 1, 8, 8) and (filled[..., :4] == 0).all()
    with pytest.raises(UndriftError, match="leave the sampler out"):
        model.impute(x, method="particles", sampler="heun")
