"""What torch takes for the usual dtype is the user's business, and changes no sample."""

import pytest
import torch

import undrift as ud
from conftest import ALL_SAMPLERS, PROCESSES, mixture
from undrift import times as grids
from undrift.recipe.tables import GRIDS
from undrift.sampler import laid_out


def everything():
    """Samples, grids, schedules, laws and solver, as numbers of their own dtypes."""
    like, found = torch.empty(0, dtype=torch.float32), {}
    m = ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], [0.1, 0.7], [0.3, 0.7], ud.DDPM())
    found["law"] = torch.cat([m.sample(5, ud.Noise(range(5))), m.log_weights[None]])
    found["conditional"] = m.conditional(torch.tensor([0.5, 0.0], dtype=torch.float64), torch.tensor([True, False])).means
    found["observed"] = m.given_observation([[1.0, 0.1]], [0.37], 0.1).means
    for name, grid in GRIDS.items():
        found[f"grid {name}"] = torch.cat([laid_out(m, grid, 7), laid_out(mixture(ud.VP()), grid, 7)])
    for name, process in PROCESSES.items():
        t = torch.tensor([0.3, 0.7], dtype=torch.float64) * process.t_max
        found[f"process {name}"] = torch.cat(
            [*process(t), process.log_snr(t), process.time(process.log_snr(t)), *process.rates(t)]
        )
    t = torch.tensor([0.3, 0.7], dtype=torch.float64)
    for name, process in (("sde", ud.LinearSDE(lambda t: -t, lambda t: 1 + t)), ("learned", ud.Learned())):
        found[f"built {name}"] = torch.cat([*process(t), process.time(torch.zeros_like(t))]).detach()
    for name, (sampler, _) in ALL_SAMPLERS.items():
        if name != "annealed-langevin":
            found[f"sampler {name}"] = ud.sample(m, 4, sampler, 5, like=like)
    found["fitted"] = torch.tensor(
        ud.fit_grid(m, torch.empty(8, 2, dtype=torch.float32), ud.Noise(range(8)), steps=(4,), rounds=1).levels,
        dtype=torch.float64,
    )
    found["analytic"] = torch.tensor(
        ud.analytic_variance(m, m.sample(8, ud.Noise(range(8))), ud.Noise(range(8)), steps=3).spread, dtype=torch.float64
    )
    found["image to image"] = ud.sample(m, 4, start=torch.zeros(4, 2, dtype=torch.float32), strength=0.5, steps=6, like=like)
    return found


USUAL = everything()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_the_default_dtype_changes_nothing(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = everything()
    finally:
        torch.set_default_dtype(before)
    assert {name: (value.dtype, torch.equal(value, USUAL[name])) for name, value in found.items()} == {
        name: (value.dtype, True) for name, value in USUAL.items()
    }


def test_a_grid_of_a_chain_counts_in_float64():
    """2,049 levels are beyond what bfloat16 and float16 count."""
    torch.set_default_dtype(torch.float16)
    try:
        times = grids.trailing(ud.DDPM(4000, 1e-5, 5e-3), 8)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (times * 4000).round().tolist() == [4000, 3500, 3000, 2500, 2000, 1500, 1000, 500, 0]
