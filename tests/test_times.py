"""Grids: from t_max to t_min, strictly decreasing, evenly spaced in what they say."""

import pytest
import torch

import undrift as ud
from conftest import PROCESSES
from undrift import times as grids


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize(
    "grid", [grids.uniform, grids.log_snr, grids.karras, grids.cosine, grids.straight, grids.trailing, grids.linspace]
)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
def test_every_grid_runs_from_noise_to_data(grid, name, n):
    process = PROCESSES[name]
    times = grid(process, n)
    if grid in (grids.trailing, grids.linspace) and process.levels is None:
        assert 2 <= len(times) <= n + 1  # levels of DDPM's that a process does not reach are left out
    else:
        assert len(times) == n + 1
    assert times.dtype == torch.float64
    assert times[0] == process.t_max and times[-1] == process.t_min and (times.diff() < 0).all()


def test_log_snr_is_even_in_log_snr():
    times = grids.log_snr(ud.VP(), 12, 0.01, 50)
    gaps = ud.VP().log_snr(times[1:-1]).diff()  # the first point is t_max itself, beyond sigma_high
    torch.testing.assert_close(gaps, gaps.mean().expand(10))


def test_karras_is_edm_table_1():
    i, n, rho = torch.arange(18, dtype=torch.float64), 18, 7
    edm = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    ours = grids.karras(ud.Karras(t_min=1e-6), n, sigma_low=0.002)
    torch.testing.assert_close(ours[:-1], edm)


def test_uniform_on_a_chain_is_trailing():
    assert (grids.uniform(ud.DDPM(1000), 4) * 1000).tolist() == [1000, 750, 500, 250, 0]
    assert torch.equal(grids.uniform(ud.DDPM(1000), 1000), ud.DDPM(1000).levels)


def test_ddpm_s_three_spacings():
    """Lin et al. 2023, table 2 for ten steps of a thousand (their timesteps 1 to 1000 are our levels)."""
    chain = ud.DDPM(1000)
    assert (grids.leading(chain, 10)[:-1] * 1000).round().tolist() == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert (grids.linspace(chain, 10)[:-1] * 1000).round().tolist() == [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1]
    assert (grids.trailing(chain, 10)[:-1] * 1000).round().tolist() == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100]
    for grid in (grids.leading, grids.linspace, grids.trailing):  # on other processes: the same noise levels
        ours, theirs = ud.Rectified().log_snr(grid(ud.Rectified(), 10)[1:-1]), chain.log_snr(grid(chain, 10)[1:-1])
        torch.testing.assert_close(ours, theirs)
    assert grids.leading(ud.Rectified(), 4)[0] < 1 and grids.trailing(ud.Rectified(), 4)[0] == 1


def test_straight_and_cosine_are_even_in_what_they_say():
    process = ud.VP()
    alpha, sigma = process(grids.straight(process, 9))
    torch.testing.assert_close(
        (sigma / (alpha + sigma)).diff(), torch.full((9,), -(sigma / (alpha + sigma))[0].item() / 9).double()
    )
    torch.testing.assert_close(grids.straight(ud.Rectified(), 5), torch.linspace(1, 0, 6).double())
    alpha, sigma = process(grids.cosine(process, 9))
    angle = torch.atan2(sigma, alpha)
    torch.testing.assert_close(angle.diff(), torch.full((9,), -angle[0].item() / 9).double())
    torch.testing.assert_close(grids.cosine(ud.Cosine(), 5), torch.linspace(1, 0, 6).double(), atol=0.01, rtol=0)
    dense = [grids.warped(ud.Rectified(), 10, a, b) for a, b in ((1, 1), (2, 1), (1, 2))]
    assert dense[1][-2] < dense[0][-2] and dense[2][1] > dense[0][1]


def test_a_fitted_grid_is_its_table_and_interpolates():
    fitted, process = grids.Fitted(((1000.0, 4.0, 1.0, 0.25), (1000.0, 1.0))), ud.Rectified()
    torch.testing.assert_close(fitted(process, 4), torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0]).double())
    torch.testing.assert_close(fitted(process, 2), torch.tensor([1.0, 0.5, 0.0]).double())
    eight = fitted(process, 8)
    torch.testing.assert_close(eight[[2, 4, 6]], torch.tensor([0.8, 0.5, 0.2]).double())
    assert len(eight) == 9 and (eight.diff() < 0).all() and len(fitted(process, 1)) == 2
    alpha, sigma = process(grids.straight(process, 8)[:-1])
    straight = grids.Fitted((tuple((sigma / alpha).clamp(max=1e9).tolist()),))
    torch.testing.assert_close(
        straight(process, 40), grids.straight(process, 40), atol=1e-6, rtol=0
    )  # so it converges as that does


def test_fitting_moves_levels_to_where_the_law_needs_them():
    """Data of two scales, one tiny: the error at the end falls, on noise that was not fitted on."""
    process = ud.Rectified()
    m = ud.GaussianMixture([[0.0, 0.0], [0.02, 0.0]], 0.004, None, process)
    fitted = ud.fit_grid(m, torch.empty(64, 2, dtype=torch.float64), ud.Noise(range(64)).fold("fit"), steps=(8,))
    like = torch.empty(0, dtype=torch.float64)
    exact = ud.sample(m, 500, ud.RungeKutta(), 200, grid=grids.karras, like=like)

    def error(grid):
        return (ud.sample(m, 500, ud.VelocityAB(corrector=True), 8, grid=grid, like=like) - exact).norm(dim=1).mean()

    assert error(fitted) < 0.7 * error(grids.straight)


@pytest.mark.parametrize("n", [0, -3, 2.0, "7", 10**6 + 1, 10**20, None])
@pytest.mark.parametrize("grid", [grids.uniform, grids.log_snr, grids.karras, grids.cosine, grids.straight])
def test_a_number_of_steps_that_is_none(grid, n):
    """Too many are refused before memory is taken for them."""
    with pytest.raises(ValueError, match="whole number of at least 1 and at most 1,000,000"):
        grid(ud.VP(), n)
