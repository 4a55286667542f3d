"""Grids: from t_max to t_min, strictly decreasing, evenly spaced in what they say."""

import pytest
import torch

import undrift as ud
from conftest import PROCESSES
from undrift import times as grids


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("grid", [grids.uniform, grids.log_snr, grids.karras])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
def test_every_grid_runs_from_noise_to_data(grid, name, n):
    process = PROCESSES[name]
    times = grid(process, n)
    assert len(times) == n + 1 and times.dtype == torch.float64
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
