"""Models that are told what an operator measures of the picture: colours from grey, sharp from blurred."""

import time

import numpy as np
import pytest
import torch
from rich.console import Console

import undrift as ud
from conftest import undrift
from undrift.error import RecipeError, UndriftError
from undrift.inverse import blur, greyscale
from undrift.recipe.conditions import measured as recipe_condition
from undrift.training.session import train_run
from undrift.training.setup import plan, prepare

TINY = {
    "network.kind": "unet",
    "network.widths": [8],
    "network.blocks": 1,
    "steps": 2,
    "batch_size": 8,
    "condition.kind": "measured",
}


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Forty pictures of 8 x 8 in colour."""
    path = tmp_path_factory.mktemp("colours") / "x.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def run(colours, tmp_path_factory):
    out = tmp_path_factory.mktemp("measured") / "run"
    options = {**TINY, "condition.operator": "greyscale", "data_dir": str(colours)}
    train_run("array", options, out, False, Console(quiet=True), time.perf_counter())
    return out


def spied(model):
    """The model with a network that keeps what it is told, and draws what its condition says."""
    told = []

    def net(x, level, cond):
        told.append(cond)
        return torch.zeros_like(x)

    model.denoiser.net = type("Spy", (torch.nn.Module,), {"forward": staticmethod(net)})()
    model.denoiser.net.register_parameter("p", torch.nn.Parameter(torch.zeros(())))
    return told


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_training_step_tells_the_network_what_the_operator_measures(colours, tmp_path, noise):
    options = {**TINY, "condition.operator": "blur:1", "condition.noise": noise, "batch_size": 400, "label_dropout": 0.25}
    trainer, *_ = prepare(plan("array", {**options, "data_dir": str(colours)}, tmp_path / "r", False)[0], tmp_path / "r")
    seen, objective = [], trainer.objective
    trainer.objective = lambda denoiser, x0, noise, cond: seen.append((x0, cond)) or objective(denoiser, x0, noise, cond)
    trainer.step(0, 1e-3)
    trainer.lock.close()
    ((x0, told),) = seen
    known = ~told.image.isnan().flatten(1).any(1)
    assert 0.65 < known.double().mean() < 0.85  # 4.6 standard deviations
    rest = (told.image - blur((3, 8, 8), 1.0)(x0))[known]
    assert abs(rest.std() - noise) < 0.02  # 12 standard errors
    assert told.label is None


def test_restore_tells_the_network_the_measurement_in_its_own_units(run):
    model = ud.load(run)
    told, x = spied(model), torch.randint(0, 256, (2, 3, 8, 8)).to(torch.uint8)
    y = greyscale((3, 8, 8))(x.float())
    draws = model.restore(y, draws=3, steps=2)
    assert draws.shape == (2, 3, 3, 8, 8)
    wanted = greyscale((3, 8, 8))(model.to_model(x)).repeat_interleave(3, 0)
    for cond in told:
        torch.testing.assert_close(cond.image, wanted, atol=1e-5, rtol=0)


def test_without_the_picture_it_draws_like_any_other(run):
    recipe_condition._operator.cache_clear()  # as in a new process
    assert ud.load(run).sample(2, steps=2).shape == (2, 3, 8, 8)


def test_the_command_line_restores_and_says_what_it_reads(run, colours, tmp_path, capsys):
    out = tmp_path / "y.png"
    code, said, err = undrift(
        "restore", run, colours, "--simulate", "-n", 2, "--draws", 2, "--steps", 2, "--out", out, capsys=capsys
    )
    assert (code, err) == (0, "") and out.is_file()
    assert "the model itself, which is told them" in said and "in the units of y" in said
    assert "greyscale of the picture, with noise of 0" in undrift("info", run, capsys=capsys)[1]


@pytest.mark.parametrize(("words", "message"), [
    (("--operator", "blur:1"), "trained to be told greyscale"),
    (("--noise", "5%"), "trained to be told greyscale"),
    (("--particles", "4"), "trained to be told greyscale"),
    (("--method", "dps"), "trained to be told greyscale"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(run, colours, tmp_path, capsys, words, message):
    code, _, err = undrift("restore", run, colours, "--simulate", "--out", tmp_path / "y.png", *words, capsys=capsys)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("operator", "message"), [
    ("mask:left", "makes no picture to be told"),
    ("matrix:/secret.npy", "makes no picture to be told"),
    ("downsample:3", "condition.operator"),
])  # fmt: skip
def test_operators_that_cannot_be_told(colours, tmp_path, operator, message):
    options = {**TINY, "condition.operator": operator, "data_dir": str(colours)}
    with pytest.raises(RecipeError, match=message):
        prepare(plan("array", options, tmp_path / "r", False)[0], tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_measurements_that_do_not_fit(run):
    model = ud.load(run)
    for y in (torch.zeros(2, 3, 8, 8), torch.full((1, 1, 8, 8), torch.nan), torch.zeros(0, 1, 8, 8)):
        with pytest.raises(UndriftError, match="finite measurements of shape"):
            model.restore(y)
    del model.parts["condition"]
    with pytest.raises(UndriftError, match="how was it measured"):
        model.restore(torch.zeros(1, 1, 8, 8))
