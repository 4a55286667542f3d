"""The commands, one file each: `undrift train-classifier` is train_classifier.py, and nothing else names it.

A file has a docstring, whose first line is the help of the command and whose rest is shown by its `--help`; `grammar(parser)`, which adds
its arguments; and `run(arguments, started)`, where `started` is when the program did. A command whose work is shared by the processes of
`torchrun` says `SHARED = True`. What loads torch is imported inside functions, since the help of all commands is read from these files.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

# In help those of daily use come first, in the order of the work; all others follow by name.
_FIRST = ("train", "status", "sample", "evaluate", "diagnose", "frontier")


def commands() -> dict[str, ModuleType]:
    """The module of each command by its name, in the order of the help."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    names = [*(name for name in _FIRST if name in names), *(name for name in names if name not in _FIRST)]
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}") for name in names}
