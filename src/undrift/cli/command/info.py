"""`undrift info`."""

from __future__ import annotations

import argparse

from undrift.model_file import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift info RUN`."""
    for name, value in {"run": str(arguments.run), **load(arguments.run).about()}.items():
        print(f"{name:>12}  {value}")
