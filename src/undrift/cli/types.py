"""The types of the command line's arguments: numbers, seeds, files and folders, each with its one-line error."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from undrift.error import short
from undrift.storage import Named

MOST = 10**9  # of anything that is counted
MOST_STEPS = 10**6  # of a grid
LARGEST = 2**62  # of a seed


def whole(text: str) -> int:
    """A number of things. What is too few of them is for the command to say."""
    return _bounded(text, MOST)


def steps(text: str) -> int:
    """A number of sampling steps; no grid is longer."""
    return _bounded(text, MOST_STEPS)


def seed(text: str) -> int:
    """A seed."""
    value = _bounded(text, LARGEST)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} must not be negative")
    return value


def _bounded(text: str, most: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):  # int() also reads 1_0 and the digits of other scripts
        raise argparse.ArgumentTypeError(f'"{short(text)}" is not a whole number')
    value = int(text) if len(text) <= 100 else most + 1
    if abs(value) > most:
        raise argparse.ArgumentTypeError(f"{short(text, 30)} is too large; the most is {most:,}")
    return value


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{short(text)}" is not a number') from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{short(text)} must be a finite number")
    return value


def name(text: str) -> str:
    """What names a file, a folder or a recipe. An empty text would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f'"{text}" names nothing; give a name, or "." for the current folder')
    return text


def folder(text: str) -> Path:
    """A file or folder that is read, or a folder that is written to."""
    return Path(name(text))


def output(text: str) -> Named:
    """A file that is written."""
    return Named.of(name(text))
