"""What a step will take of the memory is known before the first one."""

import pytest
import torch

from undrift.error import RecipeError
from undrift.recipe.read import load_recipe
from undrift.training import memory
from undrift.training.setup import prepare

MLP = {"kind": "mlp", "width": 64, "depth": 1}


def trainer(tmp_path, **keys):
    return prepare(load_recipe("toy", {"data.n": 1000, **keys}), tmp_path / "run")[0]


def test_what_is_kept_is_what_autograd_keeps(tmp_path):
    # Of a linear layer autograd keeps its input, of tanh its output: 3 and 5 numbers of 4 bytes; the weights are not counted.
    found = trainer(tmp_path, network=MLP, batch_size=8)
    net = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=False), torch.nn.Tanh(), torch.nn.Linear(5, 1, bias=False))
    found.denoiser.net = net
    x = torch.zeros(1, 3)
    found.losses = lambda step, part: net(x)[:, 0]
    assert memory.kept_bytes(found) == 4 * (3 + 5)


def test_recomputing_keeps_less(tmp_path):
    unet = {"network": {"kind": "unet", "widths": [8, 16], "blocks": 2}}
    whole, less = (prepare(load_recipe("digits", unet | {"recompute": r}), tmp_path / str(r))[0] for r in (False, True))
    assert memory.kept_bytes(less) < 0.5 * memory.kept_bytes(whole)


def test_a_batch_that_does_not_fit_is_refused_with_what_would(tmp_path, monkeypatch):
    each = memory.kept_bytes(trainer(tmp_path, network=MLP))
    monkeypatch.setattr(memory, "memory", lambda: int(1.1 * each * 32.5))
    place = tmp_path / "other"
    with pytest.raises(
        RecipeError, match=r"batch_size=64: a step takes 0.0 GiB of memory, .* accumulate=2 computes it in as many"
    ):
        prepare(load_recipe("toy", {"data.n": 1000, "network": MLP, "batch_size": 64}), place)
    assert not place.exists()
    for fits in ({"batch_size": 32}, {"batch_size": 64, "accumulate": 2}):
        prepare(load_recipe("toy", {"data.n": 1000, "network": MLP} | fits), tmp_path / str(len(fits)))


def test_the_first_step_is_as_without_the_check(tmp_path, monkeypatch):
    checked = trainer(tmp_path / "a", network=MLP)
    monkeypatch.setattr("undrift.training.setup.check_batch", lambda trainer: None)
    assert checked.step(0, 1e-3) == trainer(tmp_path / "b", network=MLP).step(0, 1e-3)
