"""What it takes to add something: its file, and one line of a table. Each is added here as a newcomer would, and used by name."""

import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest


class Added(NamedTuple):
    """A file `mine.py` of a room, and how it is entered and used; OUT is the folder of a run, FEW a short training."""

    room: str
    file: str
    use: str


FEW = '"steps": 3, "data.n": 400, "network.width": 8, "network.depth": 1, "sample_every": 0'
ADDED = {
    "a sampler": Added(
        "undrift.sampler",
        '''
        from dataclasses import dataclass
        from undrift.sampler.ode import Euler

        @dataclass(frozen=True)
        class Mine(Euler):
            """Euler under another name."""
        ''',
        """
        from undrift.recipe.samplers import NAMED, Named, explained
        NAMED["mine"] = Named("one", "mine:Mine")

        from undrift.cli import main
        assert "adaptive, mine;" in explained()
        model = ud.train("toy", out=OUT, **{"sampling.sampler": "mine", FEW})
        assert (model.sample(5) == model.sample(5, sampler="euler")).all()
        assert main(["sample", OUT, "-n", "5", "--sampler", "mine"]) == 0
        assert main(["frontier", OUT, "-n", "50", "--samplers", "mine", "--evaluations", "3", "--grids", "karras"]) == 0
        """,
    ),
    "a process": Added(
        "undrift.process",
        '''
        from dataclasses import dataclass
        from undrift.process import Rectified

        @dataclass(frozen=True)
        class Mine(Rectified):
            """The straight line under another name."""
        ''',
        """
        from undrift.process.mine import Mine
        from undrift.recipe import tables
        tables.PROCESSES["mine"] = Mine

        from undrift.recipe.keys import every
        model = ud.train("toy", out=OUT, **{"process.kind": "mine", FEW})
        assert type(ud.load(OUT).denoiser.process) is Mine and len(model.sample(5)) == 5
        assert "process.kind=mine" in every()
        """,
    ),
    "data": Added(
        "undrift.data",
        '''
        import numpy as np
        from undrift.data import Dataset, Spec

        def load(n: int = 100) -> Dataset:
            """Points on a line.

            Args:
                n: How many points.
            """
            x = np.linspace(-1, 1, n, dtype=np.float32)[:, None].repeat(2, 1)
            return Dataset(x, None, Spec((2,), None, None, False, 0.0, 1.0), "line")
        ''',
        """
        from undrift.data import DATA, Source, mine
        DATA["mine"] = Source(mine.load)

        from undrift.run import Run
        model = ud.train("toy", out=OUT, **{"data.kind": "mine", FEW})
        assert len(Run(OUT).data()[0]) == 320 and len(model.sample(5)) == 5
        """,
    ),
    "a condition": Added(
        "undrift.recipe.conditions",
        '''
        from typing import ClassVar, Literal
        from undrift.condition import Condition, as_condition
        from undrift.error import UndriftError
        from undrift.recipe.conditions.base import ConditionKind

        class FirstColumn(ConditionKind):
            """The first column is told."""

            needs: ClassVar[str] = "its first column"
            kind: Literal["first"] = "first"

            def describe(self, data):
                return self.model_dump(mode="json")

            def arguments(self, shape):
                return {"vector": 1}

            def told(self, x0, cond, noise):
                return Condition(label=as_condition(cond).label, vector=x0[:, :1])

            def reads(self, spec):
                return "the first column"

            def asked(self, each):
                raise UndriftError("give a Condition with the first column")
        ''',
        """
        from undrift.recipe.conditions import CONDITIONS
        from undrift.recipe.conditions.mine import FirstColumn
        CONDITIONS["first"] = FirstColumn

        import torch
        ud.train("toy", out=OUT, **{"condition.kind": "first", "label_dropout": 0.0, "sampling.scale": 1.0, "data.name": "mixture",
                 "data.n": 2000, "steps": 400, "network.width": 64, "sample_every": 0, "monitor_every": 0})
        model = ud.load(OUT)
        assert model.about()["reads"] == "the first column" and model.told.kind == "first"
        told = ud.Condition(vector=torch.linspace(-1, 1, 9)[:, None])
        y = model.spec.to_model(model.sample(9, told))
        assert (y[:, :1] - told.vector).abs().mean() < 0.25, y
        """,
    ),
}


@pytest.mark.parametrize("what", ADDED)
def test_a_file_and_a_line_are_enough(what, tmp_path):
    room, file, use = ADDED[what]
    (tmp_path / "mine.py").write_text(textwrap.dedent(file))
    code = (
        f"from importlib import import_module\nimport_module({room!r}).__path__.append({str(tmp_path)!r})\n"
        f"import undrift as ud\nOUT = {str(tmp_path / 'run')!r}\n" + textwrap.dedent(use).replace("FEW", FEW)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
