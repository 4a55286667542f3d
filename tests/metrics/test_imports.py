"""What only some metrics need is loaded by them alone: it takes as long as torch, and every command and training would wait for it."""

import subprocess
import sys


def test_a_training_loads_neither_scikit_learn_nor_scipys_statistics():
    code = "import sys, undrift.training.session, undrift.cli.command; print(*{'sklearn', 'scipy.stats', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split() == []
