"""The judge and the neighbours."""

import json
import shutil

import pytest
import torch

import undrift as ud
from undrift.cli import main
from undrift.data import digits
from undrift.metrics import recognition
from undrift.metrics.neighbours import nearest_neighbours
from undrift.metrics.recognition import accuracy, shifted, train_judge
from undrift.noise import Noise

QUICK = lambda train: (8, 64, 3e-3)  # noqa: E731 (a narrow judge, where it need not be a good one)


def test_the_judge_of_digits_is_right_on_97_percent_and_is_cached(tmp_path, monkeypatch):
    train, held_out = digits().split(0.2, 0)
    judge = train_judge(train, held_out, cache=tmp_path / "judge.safetensors")
    assert judge.accuracy >= 0.97
    assert judge.accuracy == accuracy(judge.classifier, held_out)
    x, labels = held_out.batch(torch.arange(100))
    again = train_judge(train, held_out, cache=tmp_path / "judge.safetensors")
    assert torch.equal(again.classify(x), judge.classify(x))
    assert (judge.classify(x) == labels).double().mean() > 0.9
    (tmp_path / "judge.safetensors").write_bytes(b"broken")
    monkeypatch.setattr(recognition, "_settings", QUICK)
    other, _ = digits().split(0.5, 1)
    assert train_judge(other.split(0.5, 0)[0], held_out, cache=tmp_path / "judge.safetensors").accuracy > 0.9  # made anew


def test_shifts_move_whole_images_by_a_pixel_at_most():
    x = torch.zeros(50, 1, 8, 8)
    x[:, :, 4, 4] = 1
    moved = shifted(x, Noise(range(50)))
    where = moved.flatten(1).argmax(1)
    rows, columns = where // 8, where % 8
    assert set((rows - 4).tolist()) == {-1, 0, 1} == set((columns - 4).tolist())
    assert (moved.flatten(1).sum(1) == 1).all()


def test_nearest_neighbours_by_brute_force():
    data = digits()
    y = data.batch(torch.tensor([5, 900]))[0] + 0.01 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    similarity, rows = nearest_neighbours(y, data, batch_size=300)
    assert rows.tolist() == [5, 900]
    assert (similarity > 0.99).all()
    whole = torch.nn.functional.normalize(data.batch(torch.arange(len(data)))[0].flatten(1) + 1, dim=1)
    direct = torch.nn.functional.normalize(y.clamp(-1, 1).flatten(1) + 1, dim=1) @ whole.T
    torch.testing.assert_close(similarity, direct.max(1).values)


def test_evaluate_from_python_is_the_command(tiny_run, tmp_path, capsys, monkeypatch):
    """Of a run's folder, and of a model with its data: the same numbers as `undrift evaluate`, and one line as `repr`."""
    monkeypatch.setattr(recognition, "_settings", QUICK)
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    found = ud.evaluate(folder, 40, seed=3)
    assert main(["evaluate", str(folder), "-n", "40", "--seed", "3"]) == 0
    told = json.loads((folder / "report.json").read_text())["runs"][0]
    assert {k: f.own.value for k, f in found.metrics.items()} == pytest.approx(
        {k: v["samples"]["value"] for k, v in told["figures"].items()}, rel=1e-6
    )
    assert repr(found).startswith("Judgement of 40 samples:") and "\n" not in repr(found)
    assert "nearest training example" in str(found)
    train, held_out = ud.data.load_split("digits")
    again = ud.evaluate(ud.load(folder), 40, train, held_out, seed=3)
    assert {k: f.own.value for k, f in again.metrics.items()} == {k: f.own.value for k, f in found.metrics.items()}
    with pytest.raises(ValueError, match="does not carry its data"):
        ud.evaluate(ud.load(folder), 40)
    with pytest.raises(ud.UndriftError, match="is of other data than the model"):
        ud.evaluate(ud.load(folder), 40, ud.data.moons(100), ud.data.moons(100))
