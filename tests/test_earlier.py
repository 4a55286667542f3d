"""Runs made by an earlier version load, draw what they drew, and resume to the weights that they reached.

`earlier/` holds two small runs whose files have no seals and whose states say nothing of the data, with what that version made of
them: samples in model space, and the weights after more steps. `earlier/second/` holds two of a later version, the last one whose
trainer knew recipes. Equal to rounding, since another processor may round otherwise.
"""

import shutil
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
EXPECTED = np.load(EARLIER / "expected.npz")
DRAWS = {
    "dpm2m": dict(seed=3, sampler="dpm2m", steps=6),
    "ancestral": dict(seed=4, sampler="ancestral", steps=8),
    "abm": dict(seed=5, sampler="abm", steps=5),
    "guided": dict(seed=6, scale=2.0, steps=4),
}


@pytest.mark.parametrize("key", [k for k in EXPECTED.files if ".after." not in k])
def test_an_earlier_model_draws_what_it_drew(key):
    name, how = key.split(".")
    y = ud.load(EARLIER / name).draw(10, list(range(10)) if name == "digits" else None, **DRAWS[how])
    torch.testing.assert_close(y, torch.from_numpy(EXPECTED[key]), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("name", "recipe", "steps"), [("digits", "digits", 36), ("table", "array", 60)])
def test_an_earlier_run_resumes_to_the_weights_that_it_reached(name, recipe, steps, tmp_path):
    """The table is an array of float64, which that version read as float32: its hash is of those."""
    folder = shutil.copytree(EARLIER / name, tmp_path / name)
    place = {"data_dir": str(EARLIER / "table.npy")} if name == "table" else {}
    train_run(recipe, {"steps": steps, **place}, folder, False, Console(quiet=True), time.perf_counter())
    prefix = f"{name}.after."
    expected = {k.removeprefix(prefix): torch.from_numpy(EXPECTED[k]) for k in EXPECTED.files if k.startswith(prefix)}
    found = load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=2e-6, rtol=0)


SECOND = np.load(EARLIER / "second" / "expected.npz")
UPSCALED = ud.Condition(
    label=torch.arange(5), image=torch.linspace(-1, 1, 80).reshape(5, 1, 4, 4), vector=torch.full((5, 1), 0.1)
)


@pytest.mark.parametrize("key", [k for k in SECOND.files if ".after." not in k])
def test_a_model_of_the_second_kind_draws_what_it_drew(key):
    name, how = key.split(".")
    n, cond = (10, list(range(10))) if name == "digits" else (5, UPSCALED)
    y = ud.load(EARLIER / "second" / name).draw(n, cond, **DRAWS[how])
    torch.testing.assert_close(y, torch.from_numpy(SECOND[key]), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("name", "steps"), [("digits", 36), ("upscale", 24)])
def test_a_run_of_the_second_kind_resumes_to_the_weights_that_it_reached(name, steps, tmp_path):
    folder = shutil.copytree(EARLIER / "second" / name, tmp_path / name)
    train_run(name, {"steps": steps}, folder, False, Console(quiet=True), time.perf_counter())
    found, prefix = load_file(folder / "model.safetensors"), f"{name}.after."
    expected = {k.removeprefix(prefix): torch.from_numpy(SECOND[k]) for k in SECOND.files if k.startswith(prefix)}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=2e-6, rtol=0)
