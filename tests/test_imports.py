"""What takes long to import is imported by what needs it: every command and training would wait for it."""

import subprocess
import sys


def loaded(code, names):
    """Which of these modules are there after the code has run in a fresh process."""
    code = f"import sys\n{code}\nprint(*{set(names)!r} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    return done.stdout.splitlines()[-1].split()


def test_a_training_loads_neither_scikit_learn_nor_scipys_statistics():
    assert loaded("import undrift.training.session, undrift.cli.command", ("sklearn", "scipy.stats", "pandas")) == []


def test_sampling_loads_no_compiler_and_no_training(tiny_run, tmp_path):
    """Not even where a network is built without memory, to see whether the weights fit."""
    words = ["sample", str(tiny_run), "-n", "2", "--steps", "2", "--out", str(tmp_path / "x.png")]
    unwanted = ("torch._dynamo", "sympy", "sklearn", "scipy.stats", "matplotlib", "undrift.training", "undrift.evaluation")
    assert loaded(f"from undrift.cli import main\nassert main({words!r}) == 0", unwanted) == []
