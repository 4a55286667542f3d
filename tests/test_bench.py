"""Benches that must run anywhere: the commands are tried on little, and figures are not judged."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
from PIL import Image

BENCH = Path(__file__).resolve().parents[1] / "bench"


def ran(name, *words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(BENCH / name), run_name="__main__")
    return capsys.readouterr().out


def test_the_table_of_a_device(capsys, monkeypatch):
    words = [
        "--device",
        "cpu",
        "--networks",
        "tiny",
        "--precisions",
        "float32",
        "--seconds",
        "0.05",
        "--batch",
        "4",
        "--no-compile",
    ]
    rows = [
        line for line in ran("gpu.py", *words, capsys=capsys, monkeypatch=monkeypatch).splitlines() if line.startswith("| tiny")
    ]
    assert re.fullmatch(r"\| tiny \| 0.11 M \| float32 \| eager \| [\d,]+ \| \d+ % \| [\d.,]+ \| [\d.,]+ \| \d+ % \|", rows[0]), (
        rows
    )


def test_the_table_of_a_busy_machine(capsys, monkeypatch):
    words = [
        "--neighbours",
        "0",
        "--steps",
        "12",
        "--rounds",
        "1",
        "--samples",
        "4",
        "--settings",
        "default",
        "network.widths=[8,16]",
    ]
    rows = [
        line for line in ran("busy.py", *words, capsys=capsys, monkeypatch=monkeypatch).splitlines() if line.startswith("| 0")
    ]
    assert len(rows) == 2 and re.fullmatch(r"\| 0 \| training, examples/s \| \d+ \| 1.00 \|", rows[0]), rows
    assert rows[1] == "| 0 | sampling: too few --samples to say | | |"  # four are drawn in no time beside the start of a command


def test_the_table_of_what_somebody_sees(tmp_path, capsys, monkeypatch):
    for i in range(20):
        picture = np.random.default_rng(i).integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{i}.jpg")
    few = ["data.size=8", "network.kind=unet", "network.widths=[8,8]", "network.blocks=1", "batch_size=4"]
    monkeypatch.setenv("UNDRIFT_CACHE", str(tmp_path / "cache"))
    words = [str(tmp_path), "--minutes", "0.05", "--keys", *few]
    out = ran("photographs.py", *words, capsys=capsys, monkeypatch=monkeypatch)
    row = next(line for line in out.splitlines() if line.startswith(f"| {tmp_path.name}, 20 |"))
    assert re.search(r"\| [\d,]+ \| verdict: too early to say \|$", row) and "training: " in out, out


def test_the_table_of_quality_by_the_minute(tmp_path, capsys, monkeypatch):
    words = ["--recipe", "digits", "--minutes", "0.02", "--seeds", "0", "--at", "0.5,1", "--scales", "1.5", "--samples", "300"]
    words += ["--log", str(tmp_path / "log.jsonl"), "--note", "a try", "network.widths=[8,16]", "learning_rate=0.001"]
    out = ran("speedrun.py", *words, capsys=capsys, monkeypatch=monkeypatch)
    rows = [line for line in out.splitlines() if line.startswith("| ") and "seconds" not in line]
    row = r"\| \d+ \| [\d,]+ \| 1.5 \| [\d.]+ % \(.*\) \| [\d.]+ \(.*\) \|"
    assert len(rows) == 2 and all(re.fullmatch(row, line) for line in rows), out
    kept = json.loads((tmp_path / "log.jsonl").read_text())
    assert kept["note"] == "a try" and kept["keys"] == words[-2:] and len(kept["found"]) == 2
