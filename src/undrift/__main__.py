"""`python -m undrift`: what `torchrun -m undrift` starts."""

from undrift.cli import run

run()
