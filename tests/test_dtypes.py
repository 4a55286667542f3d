"""Numbers of any precision: what a model gives does not depend on torch's default dtype, and hardly on that of its network."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import undrift as ud
from undrift.training.session import train_run

EARLIER = Path(__file__).parent / "earlier"
OTHER = [torch.float64, torch.bfloat16, torch.float16]
OPERATOR = ud.inverse.Operator(lambda x: x.flatten(1)[:, :2], (3,))


def everything(model: ud.Model, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """All that a model does, in few steps."""
    known = torch.arange(3) < 1
    latents = model.encode(x, steps=4)
    likelihood = model.log_likelihood(x, steps=4)
    return {
        "draw": model.draw(3, steps=4, seed=1),
        "sample": model.sample(3, steps=4, seed=1),
        "heun": model.sample(3, steps=4, seed=1, sampler="heun"),
        "ancestral": model.sample(3, steps=4, seed=1, sampler="ancestral"),
        "adaptive": model.sample(3, steps=4, seed=1, sampler="adaptive"),
        "log_likelihood": likelihood.value,
        "prior": likelihood.prior,
        "encode": latents,
        "decode": model.decode(latents, steps=4),
        "round_trip": model.round_trip(x, steps=4),
        "interpolate": model.interpolate(x[:1], x[1:2], 3, steps=4),
        "impute": model.impute(x, known, draws=2, steps=4),
        "mmps": model.impute(x, known, draws=2, steps=4, method="mmps"),
        "particles": model.impute(x, known, draws=2, steps=4, method="particles"),
        "restore": model.restore(x[:, :2], OPERATOR, 0.5, draws=2, steps=4),
    }


@pytest.fixture(scope="module")
def rows():
    return torch.from_numpy(np.load(EARLIER / "table.npy")[:3])


@pytest.fixture(scope="module")
def usual(rows):
    return everything(ud.load(EARLIER / "table"), rows)


@pytest.fixture
def other_default(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize("other_default", OTHER, ids=str, indirect=True)
def test_the_default_dtype_changes_nothing(other_default, usual, rows):
    found = everything(ud.load(EARLIER / "table"), rows)
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in usual.items()}
    for name, value in usual.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize(("dtype", "far"), [(torch.float64, 2e-4), (torch.float16, 0.05), (torch.bfloat16, 0.4)], ids=str)
def test_a_network_of_another_precision(dtype, far, usual, rows):
    """Steps are taken in float32 at least, so only the network's own rounding shows. (Data of spread 1 to 3.)"""
    model = ud.load(EARLIER / "table")
    model.denoiser.to(dtype)
    found = everything(model, rows)
    for name, value in usual.items():
        assert found[name].dtype.itemsize >= 4
        if name == "particles" and dtype.itemsize == 2:
            continue  # which particle survives is a choice, and rounding may change it
        torch.testing.assert_close(
            found[name].double(), value.double(), rtol=0.02, atol=far, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("other_default", OTHER, ids=str, indirect=True)
def test_training_under_another_default_dtype(other_default, tmp_path):
    def trained(name):
        asked = {"steps": 8, "device": "cpu", "sample_every": 0, "data.n": 60, "network.width": 8, "network.depth": 1}
        train_run("toy", asked, tmp_path / name, False, Console(quiet=True), time.perf_counter())
        return load_file(tmp_path / name / "model.safetensors")

    other = trained("other")
    torch.set_default_dtype(torch.float32)
    for name, value in trained("usual").items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)
