"""Say what a model is.

Its data, network and process, and how it is sampled.
"""

from __future__ import annotations

import argparse

from undrift.cli import options


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run."""
    options.run_folder(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print a table."""
    from undrift.model_file import load

    for name, value in {"run": str(arguments.run), **load(arguments.run, device="cpu").about()}.items():
        print(f"{name:>12}  {value}")
