"""safetensors files of our own hand: the library reads them, the seal is that of their content, and no two tensors are held at once."""

import gc
import weakref

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from undrift.tensorfile import TYPES, digest, plain, write_tensors

TENSORS = {
    "b.flags": torch.tensor([True, False, True]),
    "a": torch.arange(12.0).view(3, 4).t(),  # not contiguous
    "c": torch.tensor(7),
    "d.half": torch.linspace(-1, 1, 5).half(),
    "e": torch.zeros(0, 3),
    "f": torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last) * torch.arange(4.0),
}


@pytest.mark.parametrize("facts", ["", '{"step": 3, "loss": Infinity}'])
def test_the_library_reads_what_was_written(tmp_path, facts):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, facts)
    back = load_file(path)
    assert back.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert (file.metadata() or {}).get("facts") == facts


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_every_type(tmp_path, kind):
    given = {"odd": torch.ones(3, dtype=torch.bool), "x": torch.arange(-3, 4).to(kind)}  # what follows three bytes is not aligned
    write_tensors(tmp_path / "x", given)
    assert torch.equal(load_file(tmp_path / "x")["x"], given["x"])


def test_the_seal_is_the_hash_of_the_content(tmp_path):
    facts = "all zeros: " + "0" * 64
    mark = write_tensors(tmp_path / "x", TENSORS, facts)
    assert mark == digest(((k, plain(TENSORS[k])) for k in sorted(TENSORS)), facts)
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert file.metadata() == {"facts": facts, "sha256": mark}
    for name in TENSORS:
        if TENSORS[name].numel():
            other = {**TENSORS, name: ~TENSORS[name] if TENSORS[name].dtype == torch.bool else TENSORS[name] + 1}
            assert write_tensors(tmp_path / "y", other, facts) != mark
    assert write_tensors(tmp_path / "y", TENSORS, facts + " ") != mark


def test_one_tensor_at_a_time(tmp_path):
    alive, most, order = weakref.WeakSet(), [0], []

    def whole(name):
        gc.collect()
        most[0] = max(most[0], len(alive))
        order.append(name)
        tensor = TENSORS[name].clone()
        alive.add(tensor)
        return tensor

    like = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in TENSORS.items()}
    write_tensors(tmp_path / "x", like, "sealed", whole)
    assert order == sorted(TENSORS)
    assert most[0] <= 1  # the one before is still in hand
    assert all(torch.equal(v, TENSORS[k]) for k, v in load_file(tmp_path / "x").items())
