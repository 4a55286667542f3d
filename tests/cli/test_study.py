"""`undrift study`: what it prints and keeps, how it goes on, and one line for every mistake."""

import shutil

import pytest

from conftest import refused, undrift
from undrift.study import catalogue, p001_fig3


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The one study that these tests run, in a twentieth of its time."""
    whole = p001_fig3.score_field
    monkeypatch.setattr(p001_fig3, "score_field", lambda *_: whole(50))


def test_a_study_is_measured_kept_and_shown(tmp_path, capsys):
    out = tmp_path / "studies"
    code, said, err = undrift("study", "001-fig3", "--out", out, "--report", capsys=capsys)
    assert (code, err) == (0, "")
    assert (
        "holds" in said and "paper: " in said and "ours:  relative error" in said and "wanted: relative error below 5 %" in said
    )
    assert {p.name for p in out.iterdir()} == {"001-fig3.json", "001-fig3.png", "report.html", "report.md"}
    assert "data:image/png" in (out / "report.html").read_text() and "### 001-fig3" in (out / "report.md").read_text()


def test_all_leaves_out_what_was_measured_and_a_name_measures_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(catalogue, "STUDIES", {"001-fig3": catalogue.STUDIES["001-fig3"]})
    undrift("study", "all", "--out", tmp_path, capsys=capsys)
    written = (tmp_path / "001-fig3.png").stat().st_mtime_ns
    code, said, _ = undrift("study", "all", "--out", tmp_path, capsys=capsys)
    assert code == 0 and "measured before" in said and (tmp_path / "001-fig3.png").stat().st_mtime_ns == written
    undrift("study", "001-fig3", "--out", tmp_path, capsys=capsys)
    assert (tmp_path / "001-fig3.png").stat().st_mtime_ns > written


def test_a_run_is_sampled_in_place_of_training_one(judged_run, tmp_path, capsys):
    shutil.copy(judged_run / "classifier.safetensors", tmp_path)
    before = sorted(p.name for p in judged_run.rglob("*"))
    code, said, err = undrift("study", "000-model", "--model", judged_run, "--out", tmp_path, capsys=capsys)
    assert (code, err) == (0, "") and "training:" not in said
    assert "differs" in said  # a model of 25 steps
    assert sorted(p.name for p in judged_run.rglob("*")) == before and not (tmp_path / "models").exists()


def test_the_list_names_all_and_what_is_out_of_reach(capsys):
    code, said, _ = undrift("study", "list", capsys=capsys)
    assert code == 0
    for word in ("000-fig4", "001-table1", "002-algorithms", "003-fig6", "004-tradeoff", "X18", "X19", "GANs and VAEs"):
        assert word in said


RUN, TMP = "RUN", "TMP"


@pytest.mark.parametrize(("words", "message"), [
    (("study", "000-fgi4"), 'study "000-fgi4" is unknown — did you mean "000-fig4"?'),
    (("study", "000-fig4", "--data-dir", f"{TMP}/nowhere"), "no such folder; --data-dir is the folder with the four IDX files"),
    (("study", "all", "--data-dir", TMP), "train-images"),
    (("study", "000-fig4", "--paper-settings"), "give --data-dir"),
    (("study", "001-fig3", "--out", f"{TMP}/file/studies"), "cannot be written"),
    (("study", "all", "--out", "/proc/studies"), "cannot be written"),
    (("study", "000-fig4", "--model", f"{TMP}/nowhere"), "no such run folder"),
    (("study", "000-fig4", "--model", "TOY"), "no class-conditional model of pictures of ten digits"),
    (("study",), "name"),
    (("study", "all", "--paper-setings"), "paper-settings"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_changes_nothing(words, message, tmp_path, capsys, monkeypatch, toy_run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    refused([w.replace("TOY", str(toy_run)).replace(TMP, str(tmp_path)) for w in words], message, tmp_path, capsys)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    from time import perf_counter

    from rich.console import Console

    from undrift.training.session import train_run

    folder = tmp_path_factory.mktemp("toy") / "run"
    train_run(
        "toy",
        {"steps": 2, "data.n": 200, "network.width": 8, "sample_every": 0},
        folder,
        False,
        Console(quiet=True),
        perf_counter(),
    )
    return folder
