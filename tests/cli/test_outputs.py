"""What commands write: never over what they read, never two files into one, pictures under names of pictures, nothing of anybody's lost."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from conftest import refused, undrift
from undrift.plot.picture import PICTURES, kind_of, mosaic, save_image, written_by

QUICK = ("--steps", "1", "-n", "2")
FILL = ("--draws", "1", "--steps", "1")
RESTORE = ("--operator", "blur:1", "--noise", "1", *FILL)


@pytest.fixture
def given(tmp_path):
    """Inputs of every kind, in a folder with links to them."""
    x = np.random.default_rng(0).integers(0, 17, (2, 1, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "y.npz", x=x.astype(float))
    np.save(tmp_path / "mask.npy", np.arange(64).reshape(8, 8) % 2)
    Image.fromarray(x[0, 0] * 15).save(tmp_path / "in.png")
    Image.fromarray((np.arange(64).reshape(8, 8) % 2 * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "sub").mkdir()
    return tmp_path


OVER = [
    ("sample", "RUN", "--from", "x.npy", *QUICK, "--npy", "x.npy"), ("sample", "RUN", "--from", "x.npz", *QUICK, "--npz", "x.npz"),
    ("sample", "RUN", "--from", "in.png", *QUICK, "--out", "in.png"), ("sample", "RUN", "--from", "in.png", *QUICK, "--strip", "in.png"),
    ("impute", "RUN", "in.png", "--mask", "left", *FILL, "--out", "in.png"),
    ("impute", "RUN", "in.png", "--mask", "mask.png", *FILL, "--out", "mask.png"),
    ("impute", "RUN", "x.npz", "--mask", "left", *FILL, "--npz", "x.npz"), ("restore", "RUN", "in.png", *RESTORE, "--out", "in.png"),
    ("restore", "RUN", "x.npz", "--simulate", *RESTORE, "--npz", "x.npz"), ("likelihood", "RUN", "in.png", *QUICK, "--out", "in.png"),
]  # fmt: skip


@pytest.mark.parametrize("words", OVER, ids=lambda words: " ".join(words[:1] + words[-2:]))
@pytest.mark.parametrize("how", ["plain", "other spelling", "link to it", "hard link"])
def test_an_input_is_not_written_over(words, how, tiny_run, given, capsys, monkeypatch):
    monkeypatch.chdir(given)
    name = words[-1]
    other = {"plain": name, "other spelling": f"sub/../{name}", "link to it": f"sub/a{name[-4:]}", "hard link": f"b{name[-4:]}"}[
        how
    ]
    if how == "link to it":
        os.symlink(given / name, other)
    elif how == "hard link":
        os.link(name, other)
    refused((*(tiny_run if w == "RUN" else w for w in words[:-1]), other), "would be lost", given, capsys)


def test_data_of_a_run_are_not_written_over(given, tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "d.npy", x)
    few = ("steps=2", "network.kind=mlp", "network.width=8", "network.depth=1", "sample_every=0", "device=cpu", "batch_size=8")
    run = tmp_path / "run"
    assert undrift("train", "array", *few, "--data-dir", tmp_path / "d.npy", "--out", run, capsys=capsys)[0] == 0
    refused(("sample", run, *QUICK, "--npy", tmp_path / "d.npy"), "would be lost", tmp_path, capsys)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(given / "in.png", photos / "a.png")
    words = ("likelihood", run, "--data-dir", photos, "--out", photos / "a.png")
    refused(words, "would be lost", tmp_path, capsys)


def test_an_input_that_stands_where_a_command_usually_writes(copied_run, capsys):
    """What the command itself drew may be given to it again, and stays."""
    assert undrift("sample", copied_run, *QUICK, "-n", 1, capsys=capsys)[0] == 0
    grid = copied_run / "samples" / "grid.png"
    save_image(Image.new("L", (8, 8), 99), grid, "undrift sample")
    before = grid.read_bytes()
    code, out, _ = undrift("sample", copied_run, "--from", grid, *QUICK, capsys=capsys)
    assert code == 0 and "grid-2.png" in out and grid.read_bytes() == before


@pytest.mark.parametrize("words", [
    ("sample", "RUN", *QUICK, "--out", "q.png", "--strip", "q.png"), ("sample", "RUN", *QUICK, "--out", "q.png", "--strip", "sub/../q.png"),
    ("sample", "RUN", *QUICK, "--out", "q.gif", "--gif", "q.gif"), ("sample", "RUN", *QUICK, "--strip", "q.gif", "--gif", "sub/../q.gif"),
    ("sample", "RUN", *QUICK, "--out", "here.png", "--strip", "there.png"), ("sample", "RUN", *QUICK, "--out", "one", "--strip", "one"),
    ("impute", "RUN", "in.png", "--mask", "left", *FILL, "--out", "s", "--npz", "s.npz"),
    ("restore", "RUN", "in.png", *RESTORE, "--out", "s", "--npz", "s.npz"),
], ids=lambda words: " ".join(words[:1] + words[-4:]))  # fmt: skip
def test_two_outputs_are_two_files(words, tiny_run, given, capsys, monkeypatch):
    monkeypatch.chdir(given)
    save_image(Image.new("RGB", (8, 8)), given / "here.png")
    os.link("here.png", "there.png")
    os.symlink("s.npz", "s")
    message = "leads to" if "s.npz" in words else "are one file"
    refused([tiny_run if w == "RUN" else w for w in words], message, given, capsys)


DATA = [
    "npz",
    "npy",
    "txt",
    "json",
    "html",
    "yaml",
    "safetensors",
    "csv",
    "parquet",
    "pt",
    "blp",
    "xbm",
    "h5",
    "palm",
    "jpeg2",
    "ico",
]
PICTURE = [
    ("sample", "RUN", *QUICK, "--out"), ("sample", "RUN", *QUICK, "--strip"), ("status", "RUN", "--out"),
    ("likelihood", "RUN", *QUICK, "--out"), ("impute", "RUN", "held-out", "--mask", "left", *FILL, "--out"),
    ("restore", "RUN", "held-out", "--simulate", *RESTORE, "--out"), ("frontier", "RUN", "--out"), ("diagnose", "RUN", "--out"),
]  # fmt: skip


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("words", PICTURE, ids=lambda words: f"{words[0]} {words[-1]}")
def test_pictures_have_names_of_pictures(words, there, tiny_run, tmp_path, capsys):
    for suffix in [*DATA, "NPZ", ""]:
        place = tmp_path / f"samples.{suffix}" if suffix else tmp_path / ".npz"
        if there:
            place.write_text("precious")
        refused([*(tiny_run if w == "RUN" else w for w in words), place], str(place), tmp_path, capsys)


def test_numbers_have_options_of_their_own(tiny_run, tmp_path, capsys):
    for suffix in ("npz", "npy"):
        refused(("sample", tiny_run, *QUICK, "--out", tmp_path / f"s.{suffix}"), f"use --{suffix}", tmp_path, capsys)
    words = ("impute", tiny_run, "held-out", "--mask", "left", *FILL, "--out")
    refused((*words, tmp_path / "s.npz"), "use --npz", tmp_path, capsys)
    code, _, err = undrift(*words, tmp_path / "s.npy", capsys=capsys)
    assert code == 2 and "--npy" not in err
    for option, name in (("--npz", "s.png"), ("--npy", "s.npz"), ("--gif", "s.npz"), ("--gif", "s")):
        refused(("sample", tiny_run, *QUICK, option, tmp_path / name), "what goes there is written as", tmp_path, capsys)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff", ".pdf", ""])
def test_pictures_of_every_kind(suffix, tiny_run, tmp_path, capsys):
    place = tmp_path / f"s{suffix}"
    for _ in range(2):  # also over itself
        code, _, err = undrift("sample", tiny_run, *QUICK, "--out", place, capsys=capsys)
        assert (code, err) == (0, "")
    assert place.read_bytes()[:4] == b"%PDF" if suffix == ".pdf" else Image.open(place).size[0] > 8


def test_every_suffix_is_one_that_can_be_read_back(tmp_path):
    picture = mosaic(np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8), 3)
    for suffix in PICTURES:
        if kind_of(tmp_path / f"a{suffix}") is not None and suffix != ".pdf":
            save_image(picture, tmp_path / f"a{suffix}")
            assert Image.open(tmp_path / f"a{suffix}").size == picture.size
            Image.open(tmp_path / f"a{suffix}").load()
            assert written_by(tmp_path / f"a{suffix}") == "undrift"


def test_a_name_without_a_suffix_is_a_png_that_replaces_no_other_file(tiny_run, tmp_path, capsys):
    (tmp_path / "Makefile").write_text("all:")
    refused(
        ("sample", tiny_run, *QUICK, "--out", tmp_path / "Makefile"), "is there and undrift did not write it", tmp_path, capsys
    )
    (tmp_path / "s.png").symlink_to(tmp_path / "data.npz")
    refused(("sample", tiny_run, *QUICK, "--out", tmp_path / "s.png"), "data.npz", tmp_path, capsys)


@pytest.mark.parametrize("theirs", ["report.html", "report.json"])
def test_a_report_of_somebody_else_is_not_overwritten(theirs, judged_copy, tmp_path, capsys):
    folder = tmp_path / "EV"
    folder.mkdir()
    (folder / theirs).write_text('{"mine": "undrift evaluate"}')
    for number in (1, 2):
        code, out, err = undrift(
            "evaluate", judged_copy, "-n", 40, "--steps", 1, "--out", folder, "--seed", number, capsys=capsys
        )
        assert code == 0, err
        assert "report-2.html" in out and "report-2.json" in out
    assert (folder / theirs).read_text() == '{"mine": "undrift evaluate"}'
    assert sorted(p.name for p in folder.iterdir()) == sorted([theirs, "report-2.html", "report-2.json"])


def test_a_report_of_an_earlier_version_is_known(judged_copy, capsys):
    (judged_copy / "report.html").write_text("<!doctype html>")
    (judged_copy / "report.json").write_text(json.dumps({"undrift": "0.1.0", "data": "", "runs": []}))
    code, out, _ = undrift("evaluate", judged_copy, "-n", 40, "--steps", 1, capsys=capsys)
    assert code == 0 and "report.html" in out and "report-2" not in out


@pytest.mark.parametrize("command", ["frontier", "diagnose"])
def test_numbers_beside_a_picture_replace_only_ours(command, tiny_run, tmp_path, capsys):
    (tmp_path / "a.json").write_text("[1]")
    refused((command, tiny_run, "--out", tmp_path / "a.png"), "undrift did not write it", tmp_path, capsys)


def test_the_results_of_a_study_replace_only_ours(tmp_path, capsys):
    for name in ("000-fig4.json", "000-fig4.png"):
        folder = tmp_path / name[-3:]
        folder.mkdir()
        (folder / name).write_text("mine")
        refused(("study", "000-fig4", "--out", folder), "undrift did not write it", tmp_path, capsys)


def theirs(place):
    """A file of somebody else's with the content that its name stands for."""
    kind, x = place.suffix.lower(), np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    if kind == ".npy":
        np.save(place, x)
    elif kind == ".npz":
        np.savez(place, x=x)
    else:
        Image.fromarray(x).save(place, None if kind else "PNG")


WRITES = [
    *(("sample", "RUN", *QUICK, "--out", f"a{suffix}") for suffix in (".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff", ".pdf", "")),
    ("sample", "RUN", *QUICK, "--strip", "a.png"), ("sample", "RUN", *QUICK, "--gif", "a.gif"), ("sample", "RUN", *QUICK, "--npz", "a.npz"),
    ("sample", "RUN", *QUICK, "--npy", "a.npy"), ("impute", "RUN", "x.npy", "--mask", "left", *FILL, "--out", "a.png"),
    ("impute", "RUN", "x.npy", "--mask", "left", *FILL, "--npz", "a.npz"), ("restore", "RUN", "x.npy", *RESTORE, "--out", "a.png"),
    ("restore", "RUN", "x.npy", *RESTORE, "--npz", "a.npz"), ("status", "RUN", "--out", "a.png"),
    ("likelihood", "RUN", *QUICK, "--no-bound", "--out", "a.png"),
]  # fmt: skip


@pytest.mark.parametrize("words", WRITES, ids=lambda words: " ".join((words[0], *words[-2:])))
def test_a_file_of_somebody_else_is_never_overwritten_and_one_of_ours_is(words, tiny_run, given, capsys, monkeypatch):
    """Also one that is named; and who runs a command twice is not asked."""
    monkeypatch.chdir(given)
    words, place = [tiny_run if word == "RUN" else word for word in words], given / words[-1]
    theirs(place)
    refused(words, f"{place.name} is there and undrift did not write it; name another file, or move it away", given, capsys)
    (given / "sub" / "link.png").symlink_to(place)
    if place.suffix == ".png":
        refused([*words[:-1], "sub/link.png"], "undrift did not write it", given, capsys)
    place.unlink()
    for _ in range(2):
        code, _, err = undrift(*words, capsys=capsys)
        assert (code, err) == (0, "")
    assert written_by(place).startswith("undrift")


def test_an_empty_file_holds_nothing_that_could_be_lost(tiny_run, tmp_path, capsys):
    (tmp_path / "a.png").touch()  # as mktemp makes it
    assert undrift("sample", tiny_run, *QUICK, "--out", tmp_path / "a.png", capsys=capsys)[0] == 0


def test_what_a_file_notes_of_its_writer_is_no_hindrance_to_read_it(tiny_run, tmp_path, capsys):
    words = ("sample", tiny_run, *QUICK, "--seed", 3)
    assert undrift(*words, "--npz", tmp_path / "a.npz", "--out", tmp_path / "a.png", capsys=capsys)[0] == 0
    assert undrift(*words, "--npy", tmp_path / "a.npy", capsys=capsys)[0] == 0
    with np.load(tmp_path / "a.npz") as found:
        assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
        assert (np.load(tmp_path / "a.npy") == found["x"]).all() and (
            np.load(tmp_path / "a.npy", mmap_mode="r") == found["x"]
        ).all()
    for name in ("a.npy", "a.npz"):
        assert undrift("sample", tiny_run, *QUICK, "--from", tmp_path / name, "--out", tmp_path / "b.png", capsys=capsys)[0] == 0


def test_animations_say_who_wrote_them(tiny_run, tmp_path, capsys):
    assert undrift("sample", tiny_run, *QUICK, "--gif", tmp_path / "a.gif", "--out", tmp_path / "a.png", capsys=capsys)[0] == 0
    assert written_by(tmp_path / "a.gif") == written_by(tmp_path / "a.png") == "undrift sample"
    Image.new("L", (3, 3)).save(other := io.BytesIO(), "GIF")
    (tmp_path / "b.gif").write_bytes(other.getvalue())
    assert written_by(tmp_path / "b.gif") == ""


@pytest.mark.parametrize("words, option", [
    (("sample", "RUN", *QUICK), "--out"), (("sample", "RUN", *QUICK), "--gif"), (("impute", "RUN", "f.npy", "--mask", "left", *FILL), "--out"),
    (("restore", "RUN", "f.npy", *RESTORE), "--out"),
], ids=str)  # fmt: skip
def test_data_that_cannot_be_drawn(words, option, tmp_path, capsys):
    """What was given is not asked for again."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "d.npy", rng.normal(size=(60, 3)))
    np.save(tmp_path / "f.npy", rng.normal(size=(2, 3)))
    few = ("steps=2", "network.kind=mlp", "network.width=8", "network.depth=1", "sample_every=0", "device=cpu", "batch_size=8")
    run = tmp_path / "run"
    assert undrift("train", "array", *few, "--data-dir", tmp_path / "d.npy", "--out", run, capsys=capsys)[0] == 0
    words = [{"RUN": run, "f.npy": tmp_path / "f.npy"}.get(w, w) for w in words]
    refused((*words, option, tmp_path / "o.gif", "--npz", tmp_path / "o.npz"), f"leave out {option}", tmp_path, capsys)
    refused((*words, option, tmp_path / "o.gif"), f"with --npz FILE, without {option}", tmp_path, capsys)
    refused(words, "with --npz FILE\n", tmp_path, capsys)
