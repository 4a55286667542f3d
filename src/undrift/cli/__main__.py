"""`python -m undrift.cli`."""

from undrift.cli import run

run()
