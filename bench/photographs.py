"""What somebody sees who trains on their own photographs: seconds to the first line and the first picture, and is the time left true?

    python bench/photographs.py FOLDER [FOLDER ...] [--minutes 10] [--keys key=value ...]

Runs `undrift train images` as a command of its own without a terminal, where it writes a line every fifteen seconds, and watches its
lines and its folder. The time left that it tells at 10, 50 and 90 % is held against what it then took.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LEFT = re.compile(r"^training +(\d+) % +([\d:]+) left")


def seconds(clock):
    """Of a time such as 1:02:03."""
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def watched(folder, options, out):
    """Lines with their times, and when each picture appeared, in seconds from the start."""
    words = ["train", "images", "--data-dir", folder, "--out", out, f"minutes={options.minutes}", *options.keys]
    start, lines, pictures = time.monotonic(), [], {}
    command = [sys.executable, "-u", "-m", "undrift", *map(str, words)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read():
        for line in run.stdout:
            lines.append((time.monotonic() - start, line.rstrip()))

    reader = threading.Thread(target=read)
    reader.start()
    while run.poll() is None or reader.is_alive():
        for path in out.glob("samples/*.png"):
            pictures.setdefault(path.name, time.monotonic() - start)
        time.sleep(0.1)
    if run.returncode:
        raise SystemExit("\n".join(line for _, line in lines[-5:]))
    return lines, sorted(pictures.values()), time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keys", nargs="*", default=[], help="keys of the recipe, key=value")
    options = parser.parse_args()
    print(f"`undrift train images`, {options.minutes:g} minutes, {os.cpu_count()} cores {' '.join(options.keys)}\n")
    print(
        "| photographs | first line, s | first picture, s | pictures | left at 10 / 50 / 90 %, said and true, s | steps | verdict |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "run"
            lines, pictures, whole = watched(folder, options, out)
            told = [(at, int(found[1]), seconds(found[2])) for at, line in lines if (found := LEFT.match(line))]
            cells = []
            for share in (10, 50, 90):
                near = min(told, key=lambda seen: abs(seen[1] - share), default=None)
                cells.append("-" if near is None else f"{near[2]} and {whole - near[0]:.0f} (at {near[1]} %)")
            records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            verdict = next((line for _, line in reversed(lines) if line.startswith("verdict")), "")
            first = f"{pictures[0]:.1f}" if pictures else "none"
            count = sum(1 for _ in folder.rglob("*.jp*g"))
            print(
                f"| {folder.name}, {count:,} | {lines[0][0]:.1f} | {first} | {len(pictures)} | {'; '.join(cells)} | "
                f"{max(r.get('step', 0) for r in records):,} | {verdict} |",
                flush=True,
            )
            for at, line in lines[:6]:
                print(f"    {at:6.1f} s  {line}")


if __name__ == "__main__":
    main()
