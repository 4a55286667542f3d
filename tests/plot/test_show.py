"""Samples that show themselves: what is drawn, what is said, and that they are tensors for everybody else."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, TensorDataset

import undrift as ud
from undrift.data import Spec

SPEC = Spec.bounded((1, 4, 4), 0, 16, integer=True)


def made(shape=(5, 1, 4, 4)):
    return ud.Samples.of(torch.arange(int(np.prod(shape))).reshape(shape).to(torch.uint8), SPEC)


def test_a_line_and_a_picture():
    samples = made()
    assert repr(samples) == "Samples: 5 pictures of 1 x 4 x 4 pixels (uint8)"
    assert str(samples) == str(torch.arange(80).reshape(5, 1, 4, 4).to(torch.uint8))
    assert Image.open(io.BytesIO(samples._repr_png_())).format == "PNG"


def test_it_is_a_tensor_for_everybody_else(tmp_path):
    samples, plain = made(), torch.arange(80).reshape(5, 1, 4, 4).to(torch.uint8)
    assert torch.equal(samples, plain)
    for derived in (samples + 1, samples[0, 0], samples[:, 0], samples[..., 0], samples.float(), torch.stack([samples, samples])):
        assert type(derived) is torch.Tensor
    assert np.array_equal(np.asarray(samples), plain.numpy())
    assert type(copy.deepcopy(samples)) is ud.Samples and copy.deepcopy(samples).spec == SPEC
    assert type(pickle.loads(pickle.dumps(samples))) is torch.Tensor
    torch.save(samples, tmp_path / "x.pt")
    assert torch.equal(torch.load(tmp_path / "x.pt", weights_only=True), plain)
    save_file({"x": samples}, tmp_path / "x.safetensors")
    assert torch.equal(load_file(tmp_path / "x.safetensors")["x"], plain)
    assert next(iter(DataLoader(TensorDataset(samples), batch_size=2)))[0].shape == (2, 1, 4, 4)


def test_some_of_the_samples_are_samples_with_the_range_of_the_data():
    """8 of 0..16 is middle grey, whichever way it was picked."""
    samples = ud.Samples.of(torch.full((4, 1, 4, 4), 8, dtype=torch.uint8), SPEC)
    for part in (samples[0], samples[:2], samples[[1, 2]], samples[torch.tensor([True, False, False, True])], samples[1:2]):
        assert type(part) is ud.Samples and part.spec == SPEC
        assert np.asarray(ud.show(part).image)[20, 20].tolist() == [128] * 3
    assert repr(samples[0]) == "Samples: 1 picture of 1 x 4 x 4 pixels (uint8)"
    assert repr(ud.show(torch.rand(3, 32, 32))).startswith("Picture of 3 pictures of 1 x 32 x 32 numbers")


def test_the_range_is_the_datas(tmp_path):
    """8 of 16 is middle grey: (8/16) * 255, rounded."""
    picture = ud.show(ud.Samples.of(torch.full((1, 1, 4, 4), 8, dtype=torch.uint8), SPEC))
    assert np.asarray(picture.image)[20, 20].tolist() == [128] * 3
    assert (
        picture.save(tmp_path / "a.png").is_file()
        and np.asarray(ud.show(torch.full((1, 1, 4, 4), 8, dtype=torch.uint8)).image)[20, 20, 0] == 8
    )


@pytest.mark.parametrize(
    "shape", [(3, 3, 8, 8), (3, 9, 9), (3, 2, 20), (3, 1, 4, 4, 4), (50, 2), (50, 1), (50,), (50, 7), (1, 4, 8, 8)]
)
def test_every_kind_of_data_can_be_looked_at(shape):
    picture = ud.show(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert picture.image.width > 30 and "\n" not in repr(picture) and repr(picture).startswith("Picture of")
    assert ud.show(np.ones(shape)).image is not None


def test_a_strip_of_states():
    law = ud.GaussianMixture([[2.0, 0.0], [-2.0, 0.0]], 0.5, process=ud.VP())
    states = []
    ud.sample(law, 20, ud.DPM2M(), steps=6, callback=states.append)
    assert "on their way from noise to data" in repr(ud.show(states))


@pytest.mark.parametrize("bad", [torch.ones(2, 2, 2, 2, 2, 2), torch.full((2, 2), torch.nan), torch.empty(0, 2)])
def test_what_cannot_be_drawn_is_said(bad):
    with pytest.raises(ValueError, match="`x`"):
        ud.show(bad)


def test_samples_may_become_parameters_and_be_none(tmp_path):
    assert torch.equal(torch.nn.Parameter(made().float()), made().float())
    assert isinstance(torch.nn.Parameter(ud.Samples.of(torch.ones(3, 2), None)), torch.nn.Parameter)
    assert repr(ud.Samples.of(torch.empty(0, 2), None)) == "Samples: no samples, of shape (0, 2) (float32)"
    with pytest.raises(ud.UndriftError, match=r"no name of a picture; end it in \.png"):
        ud.show(made()).save(tmp_path / "a.zzz")
    assert "\n" not in repr(ud.Guidance([torch.eye(3)] * 9)) and len(repr(ud.Guidance(list(range(500))))) < 200
