"""Hostile input: mutated run folders and odd command lines, each answered in one line or not harmed at all.

    python bench/fuzz.py [--folders 3000] [--commands 1000] [--seed 0] [--only folder:17] [--keep DIR]

Small runs are trained first. Each case then copies one, changes it in one to three ways (bits, pages, lengths, links, pipes, devices,
values of JSON and YAML, facts of states under a right hash), and runs one command on the copy; or it runs one command with odd options on
an unchanged copy. A case is well if

- it ends with code 0 or 2 (or 130 where it was interrupted), and code 2 says one line, without a traceback;
- it takes less than 20 seconds and less than 2 GB;
- nothing outside the copy is changed, and nothing in it by a command that was refused;
- what succeeds gives what the unchanged run gives: the same samples, the same weights after more steps. (Not where the change is a
  legal other model or recipe: a value of JSON or YAML.)

Cases run in children of one process that has everything imported, so that each takes a fraction of a second. Case number n of a seed is
the same in every run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compile=true asks the C compiler, which takes as long as it takes

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import undrift.evaluation.likelihood
import undrift.training.averages  # noqa: F401 (imported before children are made)
from undrift.cli import main as command_line
from undrift.run.groups import read_groups, write_groups
from undrift.training.checkpoint import steps_of

SECONDS, MEMORY = 20, 2 * 2**30
TINY = (
    "device=cpu sample_every=0 quality_every=0 monitor_every=4 monitor_examples=8 checkpoint_every=4 log_every=2 batch_size=8 "
    "snapshots=0 keep=2 steps=8"
)
RUNS = {
    "toy": f"train toy data.n=60 network.width=8 network.depth=1 {TINY}",
    "digits": f"train digits network.widths=[4,4] network.blocks=1 network.attention=[] network.embedding=8 {TINY}",
    "captions": "train captions data.n=60 network.widths=[4,4] network.blocks=1 network.attention=[1] network.embedding=8 "
    f"condition.width=4 {TINY}",
    "images": f"train images data.size=8 network.kind=unet network.widths=[4,4] network.blocks=1 network.attention=[] network.embedding=8 {TINY}",
}
READING = {
    "info": "info RUN", "status": "status RUN", "status json": "status RUN --json", "curves": "status RUN --out OUT/c.png",
    "sample": "sample RUN -n 2 --steps 2 --npz OUT/x.npz", "strip": "sample RUN -n 2 --steps 2 --strip OUT/s.png --out OUT/g.png",
    "impute": "impute RUN held-out -n 1 --mask random:0.5 --draws 1 --steps 2 --npz OUT/x.npz",
    "likelihood": "likelihood RUN -n 2 --steps 2 --no-bound --out OUT/l.png",
    "restore": "restore RUN held-out --simulate -n 1 --draws 1 --steps 2 --operator project:0.5 --noise 1 --npz OUT/x.npz --out OUT/r.png",
}  # fmt: skip
WRITING = {"train": "train NAME --out RUN steps=12", "ema": "ema RUN"}
ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, -(2**63), 10**19, 10**400, 0.5, -0.5, 1e308, -1e308, 1e-320, math.nan, math.inf, -math.inf,
    "", " ", "x", "3", "nan", "\x1b[2J", "a\nb", "\u202e", "\ud800", "x" * 100_000, [], {}, [[]], [None], [1, 2, 3], ["a"] * 5, {"kind": "x"},
    {"kind": None}, [[[[[[1]]]]]], "../../etc/passwd", "/dev/zero", "hf:x/y", "__import__('os')", "!!python/object:os.system x", [10**9] * 3,
]  # fmt: skip
WORDS = [
    "", " ", "0", "-1", "1", "2", "3", "1e3", "10" * 10, "9" * 40, "9" * 5000, "0.5", "-0.5", "nan", "inf", "-inf", "1e308", "1e400", "٣", "²", "x",
    "\x1b[2J", "a\nb", "../x", "/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "RUN", "RUN/model.json", "OUT", "OUT/x.png", "OUT/x.npz",
    "OUT/x.npy", "OUT/x.gif", "OUT/x.txt", "OUT/no/x.png", "all", "none", "0,1", "1,,2", '"0"', '"', "7", "upper", "lower", "held-out", "ema", "raw",
    "heun", "abm", "straight", "fitted", "left", "random:0.5", "random:2", "random:nan", "blur:1", "blur:0", "blur:nan", "greyscale", "matrix:RUN/x", "mask:centre",
    "classifier", "a three next to a seven", "a three", "sampling.scale=1e308", "steps=&a", "steps=!!int x", "steps=10", "network.width=[1", "=", "a=b=c", "--", "-",
]  # fmt: skip
OPTIONS = {
    "sample": "-n --class --prompt --scale -w --sampler --steps --grid --seed --weights --guide --interval --rescale --out --strip --gif --from "
    "--strength --clip --threshold --npy --npz",
    "impute": "--mask --invert --draws --method -n --class --scale -w --sampler --steps --grid --seed --weights --data-dir --out --npz",
    "restore": "--operator --noise --simulate --data-dir -n --draws --method --particles --class --sampler --steps --seed --weights --out --npz",
    "likelihood": "-n --unit --divergence --probes --steps --dequantize --given-class --no-bound --data-dir --out --batch-size --seed --weights",
    "status": "--json --out", "info": "", "ema": "--data-dir --no-save",
    "train": "--data-dir --skip-bad --out --fresh --help",
}  # fmt: skip
FLAGS = {
    "--clip",
    "--invert",
    "--simulate",
    "--given-class",
    "--no-bound",
    "--json",
    "--no-save",
    "--skip-bad",
    "--fresh",
    "--help",
}


@dataclass
class Case:
    """One case and what came of it."""

    name: str
    words: list[str]
    changes: list[str] = field(default_factory=list)
    legal: bool = False  # whether the change may be a legal other run
    code: int = 0
    out: str = ""
    error: str = ""
    seconds: float = 0.0
    memory: int = 0
    wrong: list[str] = field(default_factory=list)


# --- changes of a folder


def a_file(rng: random.Random, folder: Path) -> Path:
    """A file of a run; the important ones more often."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != ".lock")
    first = [p for p in found if p.name in ("model.json", "model.safetensors", "config.yaml", "log.jsonl", "manifest.json")]
    states = [p for p in found if p.parent.name == "state" or p.name.startswith("pixels-")]
    return rng.choice(rng.choices([found, first or found, states or found], [1, 3, 3])[0])


def spoil(rng: random.Random, raw: bytes) -> tuple[bytes, str]:
    """Other content."""
    place = rng.randrange(len(raw)) if raw else 0
    kind = rng.choice(("bit", "byte", "page", "tail", "cut", "longer", "empty", "noise", "twice", "header"))
    if not raw or kind == "empty":
        return b"", "emptied"
    if kind == "bit":
        return raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(8))]) + raw[place + 1 :], f"bit flipped at {place}"
    if kind == "byte":
        return raw[:place] + rng.randbytes(1) + raw[place + 1 :], f"byte changed at {place}"
    if kind == "page":
        start = place // 512 * 512
        return raw[:start] + bytes(min(512, len(raw) - start)) + raw[start + 512 :], f"page zeroed at {start}"
    if kind == "tail":
        return raw[:place] + bytes(len(raw) - place), f"zeroed from {place}"
    if kind == "cut":
        return raw[:place], f"cut at {place}"
    if kind == "longer":
        return raw + rng.randbytes(rng.randrange(1, 2000)), "longer"
    if kind == "twice":
        return raw + raw, "twice"
    if kind == "header":
        return rng.randbytes(8) + raw[8:], "first 8 bytes"
    return rng.randbytes(len(raw)), "noise"


def change_bytes(rng: random.Random, folder: Path) -> tuple[str, bool]:
    path = a_file(rng, folder)
    content, how = spoil(rng, path.read_bytes())
    path.write_bytes(content)
    legal = path.suffix in (".json", ".yaml", ".jsonl")
    return f"{path.relative_to(folder)}: {how}", legal


def replace_file(rng: random.Random, folder: Path) -> tuple[str, bool]:
    path = a_file(rng, folder)
    if rng.random() < 0.2:
        path = folder / ".lock"
    path.unlink(missing_ok=True)
    kind = rng.choice(("gone", "folder", "pipe", "link", "zero", "null", "circle", "dangling"))
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "gone":
        to = {
            "link": folder.parent / "precious",
            "zero": "/dev/zero",
            "null": "/dev/null",
            "circle": path.name,
            "dangling": "nothing",
        }
        path.symlink_to(to[kind])
    return f"{path.relative_to(folder)}: {kind}", path.name in ("log.jsonl", "model.json")


def leaves(tree: object, path: tuple = ()) -> list[tuple]:
    found = [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:20]) if isinstance(tree, list) else ()
    for key, value in items:
        found += leaves(value, (*path, key))
    return found


def edit(rng: random.Random, tree: object) -> tuple[object, str]:
    """A value of a tree replaced, removed or added."""
    path = rng.choice(leaves(tree))
    if not path:
        return rng.choice(ODD), "all of it"
    node = tree
    for key in path[:-1]:
        node = node[key]
    kind, value = rng.choice(("replace", "replace", "replace", "remove", "add")), rng.choice(ODD)
    if kind == "remove":
        del node[path[-1]]
    elif kind == "add" and isinstance(node, dict):
        node["strange"] = value
    else:
        node[path[-1]] = value
    return tree, f"{'.'.join(map(str, path))} {kind} {str(value)[:40]!r}"


def change_json(rng: random.Random, folder: Path) -> tuple[str, bool]:
    names = [n for n in ("model.json", "log.jsonl") if (folder / n).is_file()]
    manifests = [p for p in folder.glob("cache/*/manifest.json") if p.is_file()]
    path = rng.choice([folder / n for n in names] + manifests) if names + manifests else None
    if path is None or path.is_symlink():
        return "nothing", True
    try:
        if path.name == "log.jsonl":
            lines = path.read_text(errors="replace").splitlines()
            i = rng.randrange(max(1, len(lines)))
            tree, how = edit(rng, json.loads(lines[i]))
            lines[i] = json.dumps(tree)
            path.write_text("\n".join(lines) + "\n", errors="surrogatepass")
        else:
            tree, how = edit(rng, json.loads(path.read_text()))
            path.write_text(json.dumps(tree))
    except Exception:  # an earlier change may have left anything
        return "nothing", True
    return f"{path.relative_to(folder)}: {how}", True


def change_yaml(rng: random.Random, folder: Path) -> tuple[str, bool]:
    path = folder / "config.yaml"
    if not path.is_file() or path.is_symlink():
        return "nothing", True
    tags = (
        "!!bool foo",
        "!!int ''",
        "!!timestamp x",
        "&a [*a]",
        "!!python/object/apply:os.system [ls]",
        "[" * 3000,
        "{a: &b 1, c: *b}",
        "0b",
        "\t",
    )
    if rng.random() < 0.3:
        lines = path.read_text(errors="replace").splitlines() or [""]
        i, how = rng.randrange(len(lines)), rng.choice(tags)
        lines[i] = f"{lines[i].partition(':')[0]}: {how}"
        path.write_text("\n".join(lines))
        return f"config.yaml: line {i} {how[:30]}", True
    try:
        tree, how = edit(rng, yaml.safe_load(path.read_text()))
        path.write_text(yaml.safe_dump(tree))
    except Exception:  # an earlier change may have left anything
        return "nothing", True
    return f"config.yaml: {how}", True


def change_state(rng: random.Random, folder: Path) -> tuple[str, bool]:
    """Facts and tensors of a state that no run has, under a right hash."""
    steps = steps_of(folder)
    path = folder / "state" / f"step-{rng.choice(steps):08d}.safetensors" if steps else None
    if path is None or not path.is_file() or path.is_symlink():
        return "nothing", True
    try:
        groups, facts = read_groups(path)
    except Exception:
        return "nothing", True
    if rng.random() < 0.6:
        facts, how = edit(rng, facts)
        facts = facts if isinstance(facts, dict) else {"step": facts}
    else:
        group = rng.choice(sorted(groups))
        name = rng.choice(sorted(groups[group])) if groups[group] else None
        how = f"{group}.{name}"
        if name is not None:
            tensor = groups[group][name]
            kind = rng.choice(("gone", "shape", "int8", "float64", "more"))
            if kind == "gone":
                del groups[group][name]
            elif kind == "more":
                groups[group][f"{name}x"] = tensor
            else:
                groups[group][name] = {
                    "shape": torch.zeros(3), "int8": torch.zeros(tensor.shape, dtype=torch.int8), "float64": tensor.double(),
                }[kind]  # fmt: skip
            how += f" {kind}"
    try:
        write_groups(path, groups, facts)
    except Exception:
        return "nothing", True
    return f"{path.name}: {how}", True


def change_weights(rng: random.Random, folder: Path) -> tuple[str, bool]:
    """Weights as another library would write them: without a seal."""
    path = folder / "model.safetensors"
    if not path.is_file() or path.is_symlink():
        return "nothing", True
    try:
        tensors = load_file(path)
        kind = rng.choice(("zero ema", "nan", "gone", "shape", "same"))
        name = rng.choice([k for k in tensors if k.startswith("ema.")])
        if kind == "zero ema":
            tensors = {k: v * 0 if k.startswith("ema.") else v for k, v in tensors.items()}
        elif kind == "nan":
            tensors[name] = tensors[name] * math.nan
        elif kind == "gone":
            del tensors[name]
        elif kind == "shape":
            tensors[name] = torch.zeros(2)
        save_file(tensors, path)
    except Exception:
        return "nothing", True
    return f"model.safetensors: {kind}, no seal", False


CHANGES: list[Callable[[random.Random, Path], tuple[str, bool]]] = [
    change_bytes, change_bytes, replace_file, change_json, change_json, change_yaml, change_state, change_weights,
]  # fmt: skip


# --- cases


def content(folder: Path) -> dict[str, str]:
    """What lies in a folder, by relative path; nothing is opened that could wait."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = oct(os.lstat(path).st_mode)
    return {k: v for k, v in found.items() if Path(k).name not in (".lock",)}


def filled(words: str, run: Path, name: str, out: Path) -> list[str]:
    return [w.replace("RUN", str(run)).replace("NAME", name).replace("OUT", str(out)) for w in words.split()]


def folder_case(rng: random.Random, bases: Path, here: Path) -> tuple[Case, str]:
    kind = rng.choice(sorted(RUNS))
    run, out = here / "run", here / "out"
    shutil.copytree(bases / kind, run, symlinks=True)
    what = rng.choice(sorted(READING) + ["train"] * 4 + ["ema"])
    words = filled((READING | WRITING)[what], run, kind, out)
    if kind == "images" and what == "train":
        words += ["--data-dir", str(bases / "pictures")]
    case = Case(f"{kind} {what}", words)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        how, legal = rng.choice(CHANGES)(rng, run)
        case.changes.append(how)
        case.legal |= legal
    return case, kind


def command_case(rng: random.Random, bases: Path, here: Path) -> tuple[Case, str]:
    kind = rng.choice(sorted(RUNS))
    run, out = here / "run", here / "out"
    shutil.copytree(bases / kind, run, symlinks=True)
    what = rng.choice(sorted(OPTIONS) + ["sample"] * 4 + ["impute"] * 2)
    words = [what]
    if what == "train":
        words += [rng.choice([kind, "RUN", "list", "digitz", ""])] + [rng.choice(WORDS) for _ in range(rng.randrange(3))]
        words += [
            "--out",
            "OUT/new",
            "steps=2",
            "device=cpu",
            "batch_size=4",
            "network.kind=mlp",
            "network.width=4",
            "sample_every=0",
        ]
    else:
        words += [rng.choice(["RUN"] * 8 + WORDS)]
        if what in ("impute", "restore"):
            words += [rng.choice(["held-out", "held-out", *WORDS])]
        small = {"sample": ["-n", "2", "--steps", "2"], "impute": ["--steps", "2", "--draws", "1", "-n", "1"],
                 "restore": ["--steps", "2", "--draws", "1", "-n", "1"], "likelihood": ["--steps", "2", "-n", "2"]}  # fmt: skip
        words += small.get(what, [])
    for option in rng.sample(OPTIONS[what].split(), min(len(OPTIONS[what].split()), rng.randrange(4))):
        words.append(option)
        if option == "--interval":
            words += [rng.choice(WORDS), rng.choice(WORDS)]
        elif option not in FLAGS:
            words.append(rng.choice(WORDS))
    words = [w.replace("RUN", str(run)).replace("OUT", str(out)) for w in words]
    return Case(f"{kind} command", words, legal=True), kind


def judged(case: Case, here: Path, before: dict[str, str], clean: dict[str, list[object]]) -> None:
    """What is wrong with what came of a case."""
    run, out = here / "run", here / "out"
    if "Traceback" in case.error + case.out:
        case.wrong.append("traceback")
    if case.code not in (0, 2, 130):
        case.wrong.append(f"code {case.code}")
    if case.seconds > SECONDS:
        case.wrong.append(f"{case.seconds:.0f} s")
    if case.memory > MEMORY:
        case.wrong.append(f"{case.memory / 2**30:.1f} GB")
    lines = [line for line in case.error.splitlines() if line.startswith("undrift: ")]
    many = "things are wrong" in case.error or "thing is wrong" in case.error
    if case.code == 2 and not many and (len(lines) != 1 or not case.error.rstrip("\n").endswith(lines[0])):
        case.wrong.append("not one line")
    if "\x1b" in case.out + case.error:
        case.wrong.append("control characters")
    if (here / "precious").read_bytes() != b"precious":
        case.wrong.append("a link was followed")
    after = content(run) if run.is_dir() else {}
    reading = case.words[0] not in ("train", "ema")
    changed = {k for k in before if after.get(k) != before[k] and not k.endswith(".damaged")}
    if reading and (changed - {"samples"} or any(Path(k).name.startswith(".") for k in after.keys() - before.keys())):
        allowed = all(k.startswith(("samples", "cache")) or k.endswith((".png", ".json")) for k in changed)
        if not allowed:
            case.wrong.append(f"changed {sorted(changed)[:3]}")
    if any(k.endswith(".tmp") for k in after):
        case.wrong.append("half-written file left")
    if case.code == 2 and reading and out.is_dir() and any(p.is_file() for p in out.rglob("*")):
        case.wrong.append("wrote and was refused")
    if case.code == 0 and not case.legal and case.name in clean and given(case, here) not in clean[case.name]:
        case.wrong.append("silently something else")


def given(case: Case, here: Path) -> object:
    """What a command gave, where it can be compared: samples, or weights after more steps."""
    if (here / "out" / "x.npz").is_file():
        with np.load(here / "out" / "x.npz") as found:
            return {k: found[k].tobytes() for k in found.files}
    if case.name.endswith(" train"):
        return {k: v.numpy().tobytes() for k, v in load_file(here / "run" / "model.safetensors").items()}
    return None


def in_child(case: Case, here: Path) -> None:
    """Run the command in a child, and note how it ended."""
    log = here / "log"
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.chdir(here)
            os.environ["UNDRIFT_CACHE"] = str(here / "run" / "cache")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            out, error = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(error):
                try:
                    code = command_line(case.words)
                except SystemExit as stop:
                    code = stop.code if isinstance(stop.code, int) else 1
                except BaseException:
                    traceback.print_exc()
                    code = 1
            log.write_text(json.dumps([code, out.getvalue()[-20_000:], error.getvalue()[-20_000:]]))
        finally:
            os._exit(code & 0xFF)
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - begun > SECONDS + 10:
            os.kill(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            break
        time.sleep(0.005)
    case.seconds, case.memory = time.monotonic() - begun, used.ru_maxrss * 1024
    case.code, case.out, case.error = -1, "", f"killed or crashed, status {status}"
    if log.is_file():
        case.code, case.out, case.error = json.loads(log.read_text())


def prepare(bases: Path) -> dict[str, list[object]]:
    """Train the small runs, and note what each command gives of them: more steps from the last state, or from the one before it."""
    pictures = bases / "pictures"
    rng = np.random.default_rng(0)
    for i in range(30):
        path = pictures / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    for name, words in RUNS.items():
        os.environ["UNDRIFT_CACHE"] = str(bases / name / "cache")
        extra = ["--data-dir", str(pictures)] if name == "images" else []
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            assert command_line([*words.split(), "--out", str(bases / name), *extra]) == 0, name
    clean: dict[str, list[object]] = defaultdict(list)
    for kind in RUNS:
        for what, last in (("sample", True), ("impute", True), ("restore", True), ("train", True), ("train", False)):
            with tempfile.TemporaryDirectory() as folder:
                here = Path(folder)
                shutil.copytree(bases / kind, here / "run")
                case = Case(f"{kind} {what}", filled((READING | WRITING)[what], here / "run", kind, here / "out"))
                if kind == "images" and what == "train":
                    case.words += ["--data-dir", str(pictures)]
                if not last:
                    (here / "run" / "state" / "step-00000008.safetensors").unlink()
                in_child(case, here)
                if case.code == 0:
                    clean[case.name].append(given(case, here))
    return clean


def main() -> int:
    """Run all cases; 1 if one is not well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=3000)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND:N", help="one case, such as folder:17, with all that it said")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the folder of that case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [("folder", i) for i in range(arguments.folders)] + [("command", i) for i in range(arguments.commands)]
    if arguments.only:
        kind, _, number = arguments.only.partition(":")
        cases = [(kind, int(number))]
    begun, codes, slowest, largest, bad = time.monotonic(), Counter[int](), 0.0, 0, 0
    with tempfile.TemporaryDirectory() as top:
        bases = Path(top) / "bases"
        clean = prepare(bases)
        print(
            f"{len(RUNS)} runs trained, {sum(map(len, clean.values()))} answers noted: {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        for i, (kind, number) in enumerate(cases):
            here = Path(top) / "case"
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            (here / "precious").write_bytes(b"precious")
            rng = random.Random(f"{arguments.seed} {kind} {number}")
            case, _ = (folder_case if kind == "folder" else command_case)(rng, bases, here)
            before = content(here / "run")
            in_child(case, here)
            judged(case, here, before, clean)
            codes[case.code] += 1
            slowest, largest = max(slowest, case.seconds), max(largest, case.memory)
            if case.wrong or arguments.only:
                bad += bool(case.wrong)
                print(f"{kind}:{number} {case.name}: {', '.join(case.wrong) or 'well'}\n  {case.changes}\n  {case.words!r:.600}")
                print(
                    f"  code {case.code}, {case.seconds:.1f} s, {case.memory / 2**20:.0f} MiB\n  {case.out[-300:]!r}\n  {case.error[-1500:]!r}",
                    flush=True,
                )
            if arguments.keep and arguments.only:
                shutil.copytree(here, arguments.keep, symlinks=True)
            if (i + 1) % 500 == 0:
                print(f"{i + 1} cases, {bad} not well, {time.monotonic() - begun:.0f} s", flush=True)
    answered = ", ".join(f"code {code}: {count}" for code, count in sorted(codes.items()))
    print(f"{len(cases)} cases of seed {arguments.seed} in {time.monotonic() - begun:.0f} s: {answered}")
    print(f"slowest {slowest:.1f} s, at most {largest / 2**20:.0f} MiB; {bad} not well")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
