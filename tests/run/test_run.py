"""The folder of a run, read from one place."""

import shutil
import subprocess
import sys

import pytest

import undrift as ud
from undrift.error import UndriftError
from undrift.run import Run
from undrift.run.lock import hold


def test_a_run_gives_its_recipe_data_and_log(tiny_run):
    run, model = Run(tiny_run), ud.load(tiny_run)
    train, held_out = run.data_of(model)
    assert str(run) == str(tiny_run) and run.recipe.recipe == "digits"
    assert train.content_hash() == model.trained["data_hash"] and len(held_out) == 359
    assert run.records()[-1]["step"] == model.trained["steps"]


def test_data_of_another_split_are_not_those_of_the_model(copied_run):
    config = copied_run / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1"))
    run = Run(copied_run)
    with pytest.raises(UndriftError, match="not what the model was trained on"):
        run.data_of(ud.load(copied_run))


def test_a_folder_without_a_run_is_one_line(tmp_path):
    for ask in (lambda run: run.recipe, Run.data):
        with pytest.raises(UndriftError) as caught:
            ask(Run(tmp_path / "none"))
        assert "\n" not in str(caught.value) and str(tmp_path / "none") in str(caught.value)


def test_one_program_at_a_time_holds_a_run(copied_run):
    with hold(copied_run), pytest.raises(UndriftError, match="at work in"):
        hold(copied_run)
    hold(copied_run).close()


def test_to_draw_samples_no_training_is_imported(tiny_run, tmp_path):
    """`undrift sample`, with a guide of an earlier step, needs the folder of a run and nothing of `training`."""
    shutil.copytree(tiny_run, tmp_path / "run")
    code = (
        "import sys; from undrift.cli import main\n"
        f"assert main(['sample', {str(tmp_path / 'run')!r}, '-n', '2', '--steps', '2', '--guide', '16', '--scale', '2']) == 0\n"
        "print(*[m for m in sys.modules if m.startswith(('undrift.training', 'undrift.evaluation'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
