"""The recipes of the papers' models: their numbers, their losses, and that they train, go on and sample."""

import struct

import numpy as np
import pytest
import torch

import undrift as ud
from undrift.recipe.build import build_network, build_process, build_target
from undrift.recipe.options import kinds
from undrift.recipe.read import load_recipe
from undrift.training.setup import plan, prepare

SMALL = {
    "000-conditional": {"network.widths": [4, 4, 4, 4, 4]},
    "001-smld": {"network.widths": [4, 4, 4, 4]},
    "001-ddpm": {"network.widths": [4, 8], "network.embedding": 8},
    "001-sde": {"network.widths": [4, 8], "network.embedding": 8},
    "003-score": {"network.widths": [4, 8], "network.embedding": 8},
}
EVERY = pytest.mark.parametrize("name", SMALL)
PARAMETERS = {"000-conditional": 2_364_289, "001-smld": 153_156_831, "001-ddpm": 917_889, "001-sde": 897_153}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """MNIST of 40 and 10 random pictures."""
    folder, rng = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for split, n in (("train", 40), ("t10k", 10)):
        for kind, x in (("images-idx3", rng.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n) % 10)):
            head = struct.pack(f">I{x.ndim}I", 0x800 + x.ndim, *x.shape)
            (folder / f"{split}-{kind}-ubyte").write_bytes(head + x.astype(np.uint8).tobytes())
    return folder


@EVERY
def test_it_trains_goes_on_and_samples(name, folder, tmp_path):
    """Every parameter has its place in the optimiser: else the state would not be taken up again."""
    options = SMALL[name] | {"data_dir": str(folder), "steps": 2, "batch_size": 8, "device": "cpu"}
    trainer, *_ = prepare(plan(name, options, tmp_path / "run", False)[0], tmp_path / "run")
    assert all(report.loss < 10 for report in trainer.run())
    trainer.save()
    trainer.lock.close()
    again, *_ = prepare(plan(name, options, tmp_path / "run", False)[0], tmp_path / "run")
    assert again.progress.step == 2
    model = ud.load(tmp_path / "run")
    assert (model.spec.classes == ()) == name.startswith("001")
    own = model.sampling
    times = own.layout()(model.denoiser.process, own.steps)
    assert len(times) == own.steps + 1
    few = ud.AnnealedLangevin(corrections=2) if name == "001-smld" else None
    assert model.sample(2, sampler=few, steps=3).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_networks_have_the_papers_sizes(name):
    recipe = load_recipe(name)
    with torch.device("meta"):
        net = build_network(kinds(recipe.network), (1, 28, 28), 10 if name == "000-conditional" else 0)
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]
    groups = {m.num_groups for m in net.modules() if isinstance(m, torch.nn.GroupNorm)}
    assert groups == ({32} if name in ("001-ddpm", "001-sde") else set())


@pytest.mark.parametrize("name", ["000-conditional", "001-smld", "001-ddpm", "001-sde"])
def test_the_losses_are_those_of_the_papers_code(name):
    """000: sigma^2 |s - grad log p(x_t | x_0)|^2; SMLD: |sigma s + eps|^2, the same; DDPM and SDE: |z - eps|^2. Means over pixels."""
    recipe = load_recipe(name, SMALL[name])
    process = build_process(kinds(recipe.process))
    net = build_network(kinds(recipe.network), (1, 28, 28), 0).eval()
    denoiser = ud.Denoiser(net, process, build_target(recipe.target, 0.6), 0.6, (1, 28, 28))
    noise = ud.Noise(range(5))
    x0 = noise.fold("x").normal((5, 1, 28, 28))
    t, eps = process.levels[:5] if process.levels is not None else torch.linspace(0.2, 1, 5).double(), noise.normal(x0)
    alpha, sigma = (v.float().view(-1, 1, 1, 1) for v in process(t))
    x = alpha * x0 + sigma * eps
    out = denoiser.output(x, t)
    error = sigma * (out - (alpha * x0 - x) / sigma**2) if name in ("000-conditional", "001-smld") else out - eps
    ours = recipe.objective.build(0.6).at(denoiser, x0, t, eps)
    torch.testing.assert_close(ours, error.square().mean((1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_the_processes_are_those_of_the_papers():
    """001's Table 1 and 000's code. Pictures lie in [-1, 1], twice as wide as theirs: the ladder is theirs in their units."""
    smld = build_process(kinds(load_recipe("001-smld").process))
    spec = ud.data.Spec.bounded((1, 28, 28), 0, 1, integer=False)
    ladder = smld.sigma(smld.levels[:-1]) * spec.scale
    torch.testing.assert_close(ladder, torch.logspace(0, -2, 10, dtype=torch.float64))
    network = load_recipe("001-smld").network
    assert (network.levels, network.sigma_min, network.sigma_max) == (smld.count, smld.sigma_min, smld.sigma_max)
    ddpm = build_process(kinds(load_recipe("001-ddpm").process))
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(ddpm.alpha(ddpm.levels[:-1].flip(0)), (1 - betas).cumprod(0).sqrt())
    for name in ("001-sde", "000-conditional"):
        vp = build_process(kinds(load_recipe(name).process))
        torch.testing.assert_close(vp.diffusion(torch.tensor([0.0, 1.0])) ** 2, torch.tensor([0.1, 20.0]))
    epoch = -(-60_000 // 64)
    steps = {name: load_recipe(name).steps / epoch for name in SMALL}
    assert steps == {"000-conditional": 2000, "001-smld": 40, "001-ddpm": 40, "001-sde": 45, "003-score": 5}
