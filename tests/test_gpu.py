"""On a GPU: what is trained, drawn and judged there is what the CPU has, to the rounding of its kernels."""

import numpy as np
import pytest
import torch

import undrift as ud
from undrift.cli import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
RUNS = {"toy": "monitor_every=10 sample_every=20", "digits": "network.widths=[8,8] network.blocks=1 quality_every=30"}


@pytest.fixture(params=RUNS, scope="module")
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    assert main(f"train {request.param} --out {folder} steps=30 batch_size=32 device=cuda {RUNS[request.param]}".split()) == 0
    return folder


def test_samples_likelihoods_and_imputations_are_those_of_the_cpu(run):
    here, there = ud.load(run), ud.load(run, device="cuda")
    x, y = (model.sample(8, sampler="heun", steps=4, seed=1) for model in (here, there))
    assert torch.allclose(x.double(), y.cpu().double(), atol=1e-3 if x.is_floating_point() else 1)
    options = {"steps": 4, "divergence": "hutchinson"}
    a, b = here.log_likelihood(x, **options).value, there.log_likelihood(x.cuda(), **options).value
    assert torch.allclose(a, b.cpu(), atol=1e-2 * float(a.abs().max()))
    mask = torch.zeros(x.shape[1:], dtype=torch.bool)
    mask[..., 0] = True
    filled = there.impute(x, mask, draws=2, steps=4)
    assert filled.shape == (2, *x.shape) and torch.equal(filled[..., 0].cpu(), x[..., 0].expand(2, *x.shape[:-1]))
    for dtype in (torch.float64, torch.float16):
        torch.set_default_dtype(dtype)
        try:
            again = ud.load(run, device="cuda").sample(8, sampler="heun", steps=4, seed=1)
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(again, y)


def test_it_goes_on_there_and_here(run):
    for device, steps in (("cuda", 40), ("cpu", 50)):
        assert main(["train", str(run), f"steps={steps}", f"device={device}"]) == 0
        assert ud.load(run).trained["steps"] == steps


def test_exact_laws_made_of_tensors_there():
    means, stds = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], device="cuda"), 0.5
    for law in (ud.GaussianMixture(means, stds, [0.3, 0.7]), ud.Empirical(means)):
        assert np.isfinite(law.sigma_data)
        x = ud.sample(law, 8, steps=4, like=means)
        assert x.is_cuda and torch.isfinite(x).all()
