"""The public names: reachable after `import undrift`, whatever was imported before, and without torch until one is used."""

import inspect
import pkgutil
import subprocess
import sys

import torch

import undrift as ud

FUNCTIONS = (
    "fit",
    "train",
    "load",
    "save",
    "show",
    "sample",
    "evaluate",
    "diagnose",
    "impute",
    "encode",
    "decode",
    "log_likelihood",
)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_no_torch():
    assert (
        run("import sys, undrift; dir(undrift); print('torch' in sys.modules, 'matplotlib' in sys.modules)").split()
        == ["False"] * 2
    )


def test_every_name_and_module_is_reachable_first():
    """Each asked for as if it were the first: the module's namespace is emptied in between."""
    code = (
        "import undrift as ud\nnames = list(ud.__all__)\nfor name in names:\n    got = getattr(ud, name)\n"
        "    assert got is not None, name\nprint(ud.guidance.__name__, ud.process.__name__)"
    )
    assert run(code).split() == ["undrift.guidance", "undrift.process"]
    assert run("import undrift as ud; print(ud.process.VP().t_max, ud.guidance.clip)").startswith("1.0")


def test_no_module_hides_a_name():
    """Importing a module sets an attribute of the package; every public name must be what it is whatever was imported."""
    modules = [m.name for m in pkgutil.walk_packages(ud.__path__, "undrift.") if "__main__" not in m.name]
    imports = "\n".join(f"import {name}" for name in modules)
    found = run(f"{imports}\nimport undrift as ud\nprint(*[n for n in {FUNCTIONS!r} if not callable(getattr(ud, n))])")
    assert found.split() == []
    assert not {name.rpartition(".")[2] for name in modules if name.count(".") == 1} & {*FUNCTIONS}


def test_every_public_name_is_documented():
    for name in ud.__all__:
        assert inspect.getdoc(getattr(ud, name)), name


def test_what_things_say_of_themselves():
    law = ud.GaussianMixture([[2.0, 0.0], [-2.0, 0.0]], 0.5, process=ud.VP())
    said = [
        law,
        law.given(None),
        ud.Mix(law, law.given(None), 2.0),
        law.using(ud.VE()),
        ud.VP(),
        ud.ABM(),
        ud.Guidance(7, scale=2.0),
    ]
    for thing in said:
        assert "\n" not in repr(thing) and repr(thing).startswith(type(thing).__name__), repr(thing)
    assert "2 components of shape 2" in repr(law) and "VE(" in repr(law.using(ud.VE()))
    net = ud.Denoiser(torch.nn.Linear(2, 2), ud.VP())
    assert repr(net).startswith("Denoiser(Linear with 6 parameters, VP(") and "in_features=2" in str(net.net)
    for thing in (law, ud.VP(), ud.DDPM(100)):
        assert thing._repr_png_().startswith(b"\x89PNG")
    assert ud.GaussianMixture([[0.0] * 5], 1.0)._repr_png_() is None
