"""A share of the hostile inputs of `bench/fuzz.py`, with a seed of its own."""

import subprocess
import sys
from pathlib import Path


def test_hostile_folders_and_command_lines_do_no_harm(tmp_path):
    script = Path(__file__).parents[1] / "bench" / "fuzz.py"
    words = [sys.executable, str(script), "--folders", "40", "--commands", "40", "--seed", "2026"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "80 cases" in done.stdout and " 0 not well" in done.stdout
