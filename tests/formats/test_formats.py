"""A model that has left undrift computes what it computed here, and a sampler on torch alone draws the same samples."""

import json
import warnings

import pytest
import torch

import undrift as ud
from conftest import refused, undrift
from undrift import formats
from undrift.error import RecipeError, UndriftError
from undrift.formats import Format
from undrift.recipe.build import build_denoiser

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("formats") / "digits.pt2"
    ud.export(ud.load(tiny_run), path)
    return path


def opened(path):
    """The program and what is told beside it, by torch alone."""
    told = {"undrift.json": ""}
    program = torch.export.load(path, extra_files=told).module()
    return program, json.loads(told["undrift.json"])


def test_a_sampler_of_ten_lines_on_torch_alone_draws_what_undrift_draws(exported, tiny_run):
    """DDIM, class by class, from the noise that `sample` starts with."""
    model = ud.load(tiny_run)
    labels = torch.arange(6)
    process = model.denoiser.process
    start = process.prior(torch.empty(6, 1, 8, 8), ud.Noise(range(6)).fold("sample", 0))
    program, told = opened(exported)
    x = start
    with torch.no_grad():
        for t, alpha, sigma in zip(told["times"][:-1], told["alpha"][1:], told["sigma"][1:], strict=True):
            data, noise = program(x, torch.full((6,), t, dtype=torch.float64), labels)
            x = alpha * data + sigma * noise
    wanted = model.draw(6, labels.tolist(), sampler="ddim", scale=1.0, seed=0)
    torch.testing.assert_close(data if told["sigma"][-1] == 0 else x, wanted, rtol=1e-3, atol=1e-3)


TARGETS = ("data", "noise", "score", "v", "velocity", "karras")
PROCESSES = ("vp", "subvp", "ve", "rectified", "cosine", "karras", "ddpm", "smld")
PAIRS = [(p, t) for p in PROCESSES for t in TARGETS if p in ("vp", "rectified", "ddpm") or t in ("v", "karras")]


@pytest.mark.parametrize(("process", "target"), PAIRS)
def test_every_process_and_target_has_a_program(process, target, tmp_path):
    made = {"kind": "mlp", "width": 8, "depth": 1}, {"kind": process}, target, 0.5, (3,), 0
    if process in ("rectified", "cosine") and target in ("noise", "score"):  # no such model can be made, so none can be exported
        with pytest.raises(RecipeError, match="tells nothing about the data"):
            build_denoiser(*made)
        return
    denoiser = build_denoiser(*made)
    with torch.no_grad():
        for p in denoiser.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.3)
    program = torch.export.export(
        formats.torch_program.Program(denoiser), (x := torch.randn(3, 3), t := middle(denoiser, 3)),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) * 2,
    ).module()  # fmt: skip
    for found, wanted in zip(program(x, t), denoiser(x, t), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def middle(denoiser, n):
    process = denoiser.process
    return torch.linspace(process.t_min, process.t_max, n + 2, dtype=torch.float64)[1:-1]


def test_a_file_that_computes_something_else_is_not_kept(tiny_run, tmp_path, monkeypatch):
    def other(model, path):
        model = ud.load(tiny_run)
        with torch.no_grad():
            next(model.denoiser.parameters()).mul_(1.5)
        formats.torch_program.write(model, path)

    monkeypatch.setitem(formats.FORMATS, "torch", Format(".pt2", other, formats.torch_program.check))
    with pytest.raises(UndriftError, match="computes something else"):
        ud.export(ud.load(tiny_run), tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


def test_a_format_is_a_file_and_a_line(tiny_run, tmp_path, monkeypatch, capsys):
    def write(model, path):
        path.write_text(str(model.parameters))

    def check(model, path):
        assert path.read_text() == str(model.parameters)

    monkeypatch.setitem(formats.FORMATS, "count", Format(".txt", write, check))
    ud.export(ud.load(tiny_run), tmp_path / "x.txt", "count")
    assert (tmp_path / "x.txt").read_text() == str(ud.load(tiny_run).parameters)
    assert undrift("export", tiny_run, "--to", "count", "--out", tmp_path / "y.txt", capsys=capsys)[0] == 0


def test_the_command_writes_a_program_and_again(copied_run, capsys):
    for _ in range(2):  # its own file it may replace
        code, out, err = undrift("export", copied_run, capsys=capsys)
        assert (code, err) == (0, "") and "program(x, t, label)" in out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert opened(copied_run / "model.pt2")[1]["spec"]["shape"] == [1, 8, 8]


def test_bad_input_is_one_line(tiny_run, copied_run, tmp_path, capsys):
    model = ud.load(tiny_run)
    for place, to, message in (
        (tmp_path / "x.pt2", "onxx", 'format "onxx" is unknown'),
        (tmp_path / "x.onnx", "torch", "is named .pt2"),
        (tmp_path / "none" / "x.pt", "torch", "is named .pt2"),
    ):
        with pytest.raises(UndriftError, match=message):
            ud.export(model, place, to)
    (tmp_path / "mine.pt2").write_text("mine")
    refused(("export", copied_run, "--out", tmp_path / "mine.pt2"), "undrift did not write it", tmp_path, capsys)
    refused(("export", copied_run, "--to", "torhc"), 'did you mean "torch"', tmp_path, capsys)
    few = {"network.width": 8, "network.depth": 1, "data.n": 100, "sample_every": 0, "monitor_every": 0, "steps": 1}
    for changes, message in (
        ({"network.energy": True}, "the gradient of an energy"),
        ({"objective.kind": "hybrid", "objective.levels": 9, "network.learned_variance": True}, "learned variances"),
    ):
        told = ud.train("toy", out=tmp_path / message.split()[0], **few, **changes)
        with pytest.raises(UndriftError, match=message):
            ud.export(told, tmp_path / "x.pt2")
        assert not (tmp_path / "x.pt2").exists()
    model.parts = {**model.parts, "condition": {"kind": "upscale", "factor": 2, "augment": 0.1}}
    with pytest.raises(UndriftError, match="draws from a small picture"):
        ud.export(model, tmp_path / "x.pt2")
