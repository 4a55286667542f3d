"""The command line as a user meets it: what it prints, what it writes, and one line and exit code 2 for every mistake."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import refused, undrift


def test_help_needs_no_torch():
    code = (
        "import sys; from undrift.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"
    assert all(word in out for word in ("train", "sample", "evaluate", "info", "demo"))


def test_importing_undrift_brings_torch_and_nothing_heavier():
    code = "import sys, undrift; undrift.VP, undrift.sample, undrift.Mix, undrift.nn; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "torch" in loaded
    assert not loaded & {"pydantic", "yaml", "rich", "PIL", "sklearn", "scipy", "safetensors", "matplotlib"}


def test_train_sample_info(tmp_path, capsys):
    run = tmp_path / "toy"
    train = ("train", "toy", "steps=20", "data.n=300", "network.width=16", "sample_every=0", "device=cpu", "--out", run)
    code, out, err = undrift(*train, capsys=capsys)
    assert (code, err) == (0, "")
    assert "trained 20 steps" in out
    assert {p.name for p in run.iterdir() if p.name[0] != "."} == {
        "config.yaml",
        "model.json",
        "model.safetensors",
        "state",
        "log.jsonl",
        "samples",
    } - (set() if (run / "log.jsonl").exists() else {"log.jsonl"})
    code, out, _ = undrift(
        "sample",
        run,
        "-n",
        50,
        "--steps",
        4,
        "--strip",
        run / "s.png",
        "--gif",
        run / "g.gif",
        "--npz",
        run / "x.npz",
        capsys=capsys,
    )
    assert code == 0
    assert "guidance scale 1 (w = 0)" in out
    arrays = np.load(run / "x.npz", allow_pickle=False)
    assert arrays["x"].shape == (50, 2)
    assert arrays["labels"].tolist() == [0, 1] * 25
    assert Image.open(run / "g.gif").n_frames in (3, 4, 5)
    assert (run / "samples" / "grid.png").exists()
    code, out, _ = undrift("info", run, capsys=capsys)
    assert code == 0
    for word in ("moons", "VP(", "karras", "20 steps", "upper, lower"):
        assert word in out


def test_sample_pictures_of_digits(tiny_run, tmp_path, capsys):
    code, _out, err = undrift(
        "sample",
        tiny_run,
        "-n",
        20,
        "--steps",
        2,
        "--out",
        tmp_path / "grid.png",
        "--strip",
        tmp_path / "strip.png",
        "--gif",
        tmp_path / "a.gif",
        capsys=capsys,
    )
    assert (code, err) == (0, "")
    grid = Image.open(tmp_path / "grid.png")
    assert grid.size[0] > grid.size[1]  # ten columns, one per class, two rows
    strip = Image.open(tmp_path / "strip.png")
    assert strip.size[1] > strip.size[0]  # ten rows, three moments
    code, out, _ = undrift("sample", tiny_run, "-n", 3, "--class", "3,5", "-w", "1.0", "--npz", tmp_path / "x.npz", capsys=capsys)
    assert code == 0
    assert "guidance scale 2 (w = 1)" in out
    assert np.load(tmp_path / "x.npz")["labels"].tolist() == [3, 5, 3]
    code, out, _ = undrift("sample", tiny_run, "-n", 3, "--class", "none", "--npz", tmp_path / "y.npz", capsys=capsys)
    assert code == 0
    assert "guidance" not in out
    assert "labels" not in np.load(tmp_path / "y.npz")


def test_the_same_seed_gives_the_same_file(tiny_run, tmp_path, capsys):
    for name in ("a", "b"):
        undrift("sample", tiny_run, "-n", 4, "--steps", 2, "--seed", 9, "--out", tmp_path / f"{name}.png", capsys=capsys)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def idx(folder, damage=lambda b: b):
    """A tiny MNIST: four IDX files of 12 images."""
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = (
            b"\0\0\x08\x03" + np.array([12, 28, 28], ">i4").tobytes() + rng.integers(0, 255, 12 * 784, dtype="uint8").tobytes()
        )
        labels = b"\0\0\x08\x01" + np.array([12], ">i4").tobytes() + bytes(i % 10 for i in range(12))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(damage(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder


def test_mnist_from_idx_files(tmp_path, capsys):
    idx(tmp_path)
    code, out, err = undrift(
        "train",
        "mnist",
        "steps=2",
        "batch_size=4",
        "network.widths=[8, 8]",
        "sample_every=0",
        "device=cpu",
        "--data-dir",
        tmp_path,
        "--out",
        tmp_path / "run",
        capsys=capsys,
    )
    assert (code, err) == (0, "")
    assert "12 examples of shape (1, 28, 28)" in out


RUN, TMP = "RUN", "TMP"
MISTAKES = [
    (("train", "digitz"), 'recipe "digitz" is unknown — did you mean "digits"?'),
    (("train", "digits", "stepz=3"), 'unknown key "stepz" — did you mean "steps"?'),
    (("train", "digits", "process.beta_max=3"), 'unknown key "process.beta_max"'),
    (("train", "digits", "steps=0"), "steps=0"),
    (("train", "digits", "steps=-1"), "steps=-1"),
    (("train", "digits", "--stepz", "3"), '"--stepz" is not understood'),
    (("train", "mnist", "steps=1"), "give --data-dir"),
    (("train", "mnist", "steps=1", "--data-dir", f"{TMP}/nowhere"), "nowhere"),
    (("train", "digits", "--data-dir", TMP), "leave out --data-dir"),
    (("train", "toy", "data.name=mons"), 'did you mean "moons"'),
    (("train", "array", "--data-dir", f"{TMP}/nan.npy"), "nan.npy"),
    (("train", "array", "--data-dir", f"{TMP}/objects.npy"), "objects.npy"),
    (("train", "toy", "steps=1", "--out", f"{TMP}/file/run"), "file"),
    (("trian", "digits"), 'command "trian" is unknown — did you mean "train"?'),
    (("sample", f"{TMP}/nowhere"), "no such run folder"),
    (("sample", TMP), "holds no model"),
    (("sample", RUN, "--scale", "nan"), "finite number"),
    (("sample", RUN, "--sampler", "huen"), 'sampler "huen" is unknown — did you mean "heun"?'),
    (("sample", RUN, "--grid", "karas"), 'grid "karas" is unknown'),
    (("sample", RUN, "--class", "eleven"), 'class "eleven"'),
    (("sample", RUN, "--class", "3,12"), "12"),
    (("sample", RUN, "--steps", "0"), "at least 1"),
    (("sample", RUN, "--steps", "-4"), "at least 1"),
    (("sample", RUN, "--steps", "ten"), "is not a whole number"),
    (("sample", RUN, "-n", "0"), "at least one sample"),
    (("sample", RUN, "--seed", "-1"), "must not be negative"),
    (("sample", RUN, "--scale", "2", "-w", "1"), "not allowed with"),
    (("sample", RUN, "--class", "none", "--scale", "2"), "guide towards a class"),
    (("sample", RUN, "--weights", "best"), 'weights "best" is unknown'),
    (("sample", RUN, "--out", f"{TMP}/file/x.png"), "cannot be written"),
    (("sample", RUN, "--out", TMP), "is a folder"),
    (("sample", RUN, "--npz", "/proc/x.npz"), "cannot be written"),
    (("info", TMP), "holds no model"),
    (("evaluate", RUN, "-n", "0"), "at least one sample"),
    (("evaluate", f"{TMP}/nowhere"), "no such run folder"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_a_mistake_is_one_line_and_exit_code_2(words, message, tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    np.save(tmp_path / "nan.npy", np.array([[1.0, np.nan]], dtype="float32"))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused([w.replace(RUN, str(tiny_run)).replace(TMP, str(tmp_path)) for w in words], message, tmp_path, capsys)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda b: b[: len(b) // 2], "images"),
    (lambda b: b"\0\0\x08\x07" + b[4:], "magic|axes"),
])  # fmt: skip
def test_damaged_idx_files(tmp_path, capsys, damage, message):
    import re

    idx(tmp_path, damage)
    code, _, err = undrift("train", "mnist", "steps=1", "--data-dir", tmp_path, "--out", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_evaluate_says_how_many_are_recognised(judged_copy, capsys):
    code, out, err = undrift("evaluate", judged_copy, "-n", 20, "--steps", 2, capsys=capsys)
    assert (code, err) == (0, "")
    assert "recognised as the class asked for" in out
    assert "held-out real examples" in out
    assert (judged_copy / "report.html").is_file()


def test_interrupting_sampling_is_quiet(tiny_run, capsys, monkeypatch):
    import undrift.cli.command.sample as command

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", stop)
    code, _, err = undrift("sample", tiny_run, capsys=capsys)
    assert (code, err) == (130, "undrift: interrupted\n")


def test_the_console_script_is_installed():
    assert Path(sys.executable).with_name("undrift").exists()


def test_sampling_from_data_to_disk_and_held_to_the_range(tiny_run, tmp_path, capsys):
    x = np.full((3, 8, 8), 12, dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    near = ("sample", tiny_run, "--from", tmp_path / "x.npy", "--strength", 0.3, "--steps", 10, "--npy", tmp_path / "y.npy")
    code, out, err = undrift(*near, capsys=capsys)
    assert (code, err) == (0, "") and "3 steps (3 evaluations)" in out
    y = np.load(tmp_path / "y.npy")
    assert y.shape == (3, 1, 8, 8) and y.dtype == np.uint8 and abs(y.astype(float).mean() - 12) < 5
    code, out, _ = undrift("sample", tiny_run, "-n", 4, "--steps", 2, "--clip", "--npy", tmp_path / "z.npy", capsys=capsys)
    assert code == 0 and np.load(tmp_path / "z.npy").shape == (4, 1, 8, 8)


@pytest.mark.parametrize(("words", "message"), [
    (["--strength", "0.5"], "--strength is of --from"),
    (["--from", "nowhere.png"], "no such file"),
    (["--clip", "--threshold", "0.9"], "choose one"),
    (["--threshold", "2"], "must be in (0, 1]"),
    (["--grid", "fitted"], "no fitted grid"),
    (["--npy", "x.txt"], ".npy"),
    (["--npy", "x.npy", "--out", "x.png"], "in another call"),
    (["-n", "99999999999999999"], "99999999999999999 is too large; the most is 1,000,000,000"),
    (["-n", "999999999"], "GiB of memory"),
    (["--npz", "model.json"], "belongs to a run"),
])  # fmt: skip
def test_what_sample_says_to_odd_options(words, message, copied_run, monkeypatch, capsys):
    monkeypatch.chdir(copied_run)
    code, _, err = undrift("sample", copied_run, *words, capsys=capsys)
    assert code == 2 and len(err.splitlines()) == 1 and message in err, err
