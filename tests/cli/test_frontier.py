"""`undrift frontier` as a user meets it."""

import json

import pytest
from PIL import Image

from conftest import refused, undrift
from undrift.model_file import load, save_sampling

SMALL = ("-n", "60", "--samplers", "dpm2m,ddim", "--grids", "karras, uniform", "--evaluations", "3,6")


def test_it_measures_recommends_and_the_model_follows(judged_copy, capsys):
    weights = (judged_copy / "model.safetensors").read_bytes()
    code, out, err = undrift("frontier", judged_copy, *SMALL, "--scale", 3, capsys=capsys)
    assert (code, err) == (0, "")
    assert "guidance scale 3 (w = 2)" in out
    assert "floor: " in out
    data = json.loads((judged_copy / "frontier.json").read_text())
    chosen = data["recommended"]
    assert f"recommended: {chosen['sampler']} on the {chosen['grid']} grid, {chosen['steps']} steps" in out
    assert len(data["rows"]) == 9  # two samplers, two grids, two numbers of evaluations, and how the model samples now
    assert all(line.count("%") == 1 for line in out.splitlines()[2:11])  # recognition in every row
    assert Image.open(judged_copy / "frontier.png").size == (900, 560)
    now = load(judged_copy).sampling
    assert (now.sampler, now.grid, now.steps, now.scale) == (chosen["sampler"], chosen["grid"], chosen["steps"], 3)
    assert (judged_copy / "model.safetensors").read_bytes() == weights
    said = f"{now.sampler}, {now.steps} steps on the {now.grid} grid, guidance scale 3 (w = 2)"
    assert said in undrift("info", judged_copy, capsys=capsys)[1]
    assert f"{now.sampler}, {now.steps} steps" in undrift("sample", judged_copy, "-n", 2, capsys=capsys)[1]


def test_a_tie_changes_nothing_and_it_is_said(judged_copy, capsys):
    """Two runs: after the first, which recommends, the second finds the same in use."""
    assert undrift("frontier", judged_copy, *SMALL, capsys=capsys)[0] == 0
    before = (judged_copy / "model.json").read_bytes()
    for words in ((), ("--no-save",)):
        code, out, err = undrift("frontier", judged_copy, *SMALL, *words, capsys=capsys)
        assert (code, err) == (0, "")
        assert "what the model uses now" in out
        assert out.splitlines()[-1] == f"nothing is changed, the model samples so already: undrift sample {judged_copy}"
        assert (judged_copy / "model.json").read_bytes() == before


def test_no_save_leaves_the_model_and_says_how_to_use_it(judged_copy, tmp_path, capsys):
    before = (judged_copy / "model.json").read_bytes()
    code, out, _ = undrift("frontier", judged_copy, *SMALL, "--scale", 3, "--no-save", "--out", tmp_path / "f.png", capsys=capsys)
    assert code == 0
    assert (judged_copy / "model.json").read_bytes() == before
    assert (tmp_path / "f.png").is_file()
    assert (tmp_path / "f.json").is_file()
    command = next(line for line in out.splitlines() if line.startswith("to use it: undrift ")).split("undrift ")[1]
    code, said, err = undrift(*command.split(), "-n", "2", capsys=capsys)
    assert (code, err) == (0, "")
    chosen = json.loads((tmp_path / "f.json").read_text())["recommended"]
    assert f"{chosen['sampler']}, {chosen['steps']} steps" in said


RUN, TMP = "RUN", "TMP"
MISTAKES = [
    (("frontier", f"{TMP}/nowhere"), "no such run folder"),
    (("frontier", RUN, "-n", "49"), "-n 49: too few samples to tell settings apart; ask for at least 50"),
    (("frontier", RUN, "--samplers", "dpm2m,huen"), 'sampler "huen" is unknown — did you mean "heun"?'),
    (("frontier", RUN, "--grids", "karas"), 'grid "karas" is unknown — did you mean "karras"?'),
    (("frontier", RUN, "--evaluations", "5,ten"), '--evaluations "5,ten": not whole numbers'),
    (("frontier", RUN, "--evaluations", "2.5"), "not whole numbers"),
    (("frontier", RUN, "--evaluations", "0,5"), "whole numbers from 1"),
    (("frontier", RUN, "--evaluations", ","), "name at least one"),
    (("frontier", RUN, "--samplers", ","), "name at least one"),
    (("frontier", RUN, "--samplers", "annealed-langevin", "--no-save"), "needs at least 101 evaluations"),
    (("frontier", RUN, "--scale", "2", "-w", "1"), "not allowed with"),
    (("frontier", RUN, "--seed", "-1"), "must not be negative"),
    (("frontier", RUN, "--data-dir", f"{TMP}/nowhere"), "leave out --data-dir"),
    (("frontier", RUN, "--out", "/proc/frontier.png"), "cannot be written"),
    (("frontier", RUN, "--out", f"{TMP}/frontier.json"), "name a .png"),
    (("frontier", RUN, "--weights", "best"), 'weights "best" is unknown'),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_a_mistake_is_one_line_and_changes_nothing(words, message, judged_copy, tmp_path, capsys):
    refused([w.replace(RUN, str(judged_copy)).replace(TMP, str(tmp_path)) for w in words], message, judged_copy, capsys)


def test_a_run_in_training_is_not_written_to(judged_copy, capsys):
    from undrift.run.lock import hold

    lock = hold(judged_copy)
    code, _, err = undrift("frontier", judged_copy, *SMALL, capsys=capsys)
    assert (code, "another training is at work" in err) == (2, True)
    lock.close()


def test_info_says_what_a_fitted_grid_was_measured_for(judged_copy, capsys):
    fitted = {"fitted": ((150.0, 0.3), (150.0, 1.0, 0.1)), "grid": "fitted"}
    save_sampling(judged_copy, load(judged_copy).sampling.model_copy(update=fitted))
    assert "measured for 2, 3 steps" in undrift("info", judged_copy, capsys=capsys)[1]
