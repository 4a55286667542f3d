"""The network of published FIDs: its names, its numbers, and what becomes of files that are not its weights."""

import hashlib
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import refused, undrift
from metrics.made_inception import made, pixels
from undrift.data import Spec
from undrift.error import ModelError
from undrift.metrics import inception, inception_space
from undrift.metrics.inception import Inception, average, enlarged, load_inception
from undrift.metrics.inception_space import features


@pytest.fixture(scope="module")
def state():
    return made()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "made.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def network(weights):
    return load_inception(weights)[0]


def test_names_shapes_and_numbers_are_those_of_torch_fidelity(state, network):
    """Both from torch-fidelity 0.4.0: the digest of its names and shapes, and what its network makes of the same weights."""
    names = sorted((k, tuple(v.shape)) for k, v in state.items())
    digest = hashlib.sha256(repr(names).encode()).hexdigest()
    assert digest == "61093f3898ff55ee284da97759a34b5a834fb7ea04e1c984d17b89a2dafcc318" and len(names) == 472
    h = network.features(torch.from_numpy(pixels()))
    wanted = [[0.0, 2.20598, 0.00775, 0.50337, 0.33121], [0.0, 2.18986, 0.0065, 0.51035, 0.35043]]
    torch.testing.assert_close(h[:, [0, 511, 1023, 1600, 2047]], torch.tensor(wanted), atol=3e-5, rtol=1e-4)
    assert h.double().norm().item() == pytest.approx(55.735806, rel=1e-5)
    logits = torch.tensor([[1.8372, 26.4428, 27.5371], [2.6632, 24.1134, 26.2559]])
    torch.testing.assert_close(network.logits(h)[:, :3], logits, atol=1e-3, rtol=1e-4)


def test_a_picture_has_its_features_alone_or_among_others_and_every_time(network):
    x = torch.from_numpy(pixels())
    h = network.features(x)
    assert torch.equal(network.features(x), h)
    torch.testing.assert_close(network.features(x[1:]), h[1:], atol=1e-5, rtol=1e-5)


def test_pictures_are_enlarged_as_tensorflow_did():
    """Output i reads place i n/299: of (0, 1) that is 2 i/299 until the last pixel, and then its value."""
    line = enlarged(torch.tensor([[[[0.0, 1.0]]]]).double())[0, 0]
    assert line.shape == (299, 299)
    torch.testing.assert_close(line[7], (torch.arange(299).double() * 2 / 299).clamp(max=1))
    x = torch.rand(1, 3, 299, 299)
    assert torch.equal(enlarged(x), x)


def test_averages_do_not_count_padding():
    assert torch.equal(average(torch.ones(1, 2, 5, 7)), torch.ones(1, 2, 5, 7))
    assert average(torch.arange(9.0).reshape(1, 1, 3, 3))[0, 0, 0, 0] == 2  # 0, 1, 3, 4


def test_grey_is_repeated_and_pictures_are_8_bits(network):
    grey, colour = Spec.bounded((1, 9, 9), 0, 16, integer=True), Spec.bounded((3, 9, 9), 0, 255, integer=True)
    levels = torch.randint(0, 17, (2, 1, 9, 9), generator=torch.Generator().manual_seed(0))
    seen = (levels * 255 / 16).round().expand(-1, 3, -1, -1)
    a, b = features(network, grey.to_model(levels), grey), features(network, colour.to_model(seen), colour)
    assert torch.equal(a, b) and torch.equal(a, network.features(seen))


def test_a_safetensors_copy_is_the_same(state, network, weights, tmp_path):
    save_file(state, tmp_path / "copy.safetensors")
    copy, digest = load_inception(tmp_path / "copy.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(copy.state_dict().values(), network.state_dict().values(), strict=True))
    assert digest == hashlib.sha256((tmp_path / "copy.safetensors").read_bytes()).hexdigest()
    old = tmp_path / "old.pth"  # the published file is of the format before 2020; some copies count batches too
    batches = {"Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(7)}
    torch.save(state | batches, old, _use_new_zipfile_serialization=False)
    assert torch.equal(load_inception(old)[0].fc.weight, network.fc.weight)


class Hostile:
    """Executed by whatever unpickles it."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('executed').touch()",)


def _script(path, state):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to leave it
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def _nan(path, state):
    bad = state["Mixed_7c.branch1x1.bn.bias"].clone()
    bad[3] = torch.nan
    torch.save(state | {"Mixed_7c.branch1x1.bn.bias": bad}, path)


FILES = {
    "torchscript": (_script, "is TorchScript, a program and not weights, and is not run"),
    "hostile": (lambda path, state: torch.save({"fc.weight": Hostile()}, path), "nothing in it was executed"),
    "hostile, old": (lambda path, state: path.write_bytes(pickle.dumps(Hostile())), "nothing in it was executed"),
    "half": (lambda path, state: path.write_bytes(b"PK\x03\x04half of a file"), "not a file of plain weights"),
    "empty": (lambda path, state: path.touch(), "not a file of plain weights"),
    "folder": (lambda path, state: path.mkdir(), "no such file"),
    "nothing": (lambda path, state: None, "no such file; the weights of published FIDs are pt_inception-2015-12-05-6726825d.pth"),
    "list": (lambda path, state: torch.save([torch.ones(2)], path), "no weights by name"),
    "missing": (lambda path, state: torch.save({k: v for k, v in state.items() if k != "fc.bias"}, path), "fc.bias is missing"),
    "1000 classes": (
        lambda path, state: torch.save(state | {"fc.weight": torch.zeros(1000, 2048)}, path),
        "fc.weight is (1000, 2048) and not (1008, 2048)",
    ),
    "more": (lambda path, state: torch.save(state | {"AuxLogits.fc.bias": torch.ones(2)}, path), "with AuxLogits.fc.bias"),
    "not finite": (_nan, "Mixed_7c.branch1x1.bn.bias are not finite"),
}


@pytest.mark.parametrize("what", FILES)
def test_what_is_not_weights_is_refused_in_one_line_and_not_run(what, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    FILES[what][0](path, state)
    with pytest.raises(ModelError) as caught:
        load_inception(path)
    message = str(caught.value)
    assert FILES[what][1] in message and "\n" not in message and not (tmp_path / "executed").exists()
    if what == "hostile":  # so that the test would see it
        torch.load(path, weights_only=False)
        assert (tmp_path / "executed").exists()


@pytest.fixture
def quick(monkeypatch):
    """Pictures of 75 x 75 and few of them: the whole path, in seconds."""
    monkeypatch.setattr(inception, "SIZE", 75)
    monkeypatch.setattr(inception_space, "KNOWN", 40)


def test_evaluate_measures_in_inception_features_beside_the_floor(judged_copy, weights, quick, capsys, monkeypatch):
    words = ("evaluate", judged_copy, "-n", 24, "--steps", 1, "--inception", weights)
    code, out, err = undrift(*words, capsys=capsys)
    assert (code, err) == (0, "")
    assert "in features of the Inception network, made.pth" in out and "Fréchet Inception distance (FID)" in out
    assert "made.pth is not the file behind published FIDs" in out and "are too few for" in out
    run = json.loads((judged_copy / "report.json").read_text())["runs"][0]
    keys = {"kernel", "precision", "recall", "density", "coverage", "score"}
    assert {f"inception_{k}" for k in keys} < set(run["figures"]) and "inception_frechet" not in run["figures"]
    assert run["not measured"]["inception_frechet"].endswith("are the least; read the kernel distance")
    for f in run["figures"].values():
        for which in ("samples", "held-out"):
            assert f[which]["low"] <= f[which]["value"] <= f[which]["high"]
    assert "Fréchet Inception distance" in (judged_copy / "report.html").read_text()
    seen = []
    whole = Inception.features
    monkeypatch.setattr(Inception, "features", lambda self, x: seen.append(len(x)) or whole(self, x))
    assert undrift(*words, capsys=capsys)[0] == 0
    assert sum(seen) == 24  # the real ones were kept
    again = json.loads((judged_copy / "report.json").read_text())["runs"][0]
    assert again["figures"] == run["figures"]


def test_other_data_and_files_are_one_line_and_leave_nothing(judged_copy, weights, tmp_path, capsys):
    refused(["evaluate", str(judged_copy), "--inception", str(tmp_path / "none.pth")], "no such file", judged_copy, capsys)
    words = ["evaluate", str(judged_copy), "--generative-classifier", "--inception", str(weights)]
    refused(words, "without --likelihood, --inception and --out", judged_copy, capsys)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    words = ("steps=1", "network.kind=mlp", "network.width=8", "sample_every=0", "--data-dir", tmp_path / "x.npy")
    assert undrift("train", "array", *words, "--out", tmp_path / "run", capsys=capsys)[0] == 0
    words = ["evaluate", str(tmp_path / "run"), "--inception", str(weights)]
    refused(words, "sees pictures of 1, 3 or 4 channels", tmp_path / "run", capsys)
