"""Does the wheel do without the repository? It is installed in a fresh environment, and used there from an empty folder.

python bench/wheel.py FOLDER          the folder that holds the wheel
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINES = """
import torch, undrift as ud
law = ud.GaussianMixture([[2.0, 0.0], [-2.0, 0.0]], 0.5, process=ud.VP())
model = ud.fit(ud.nn.MLP((2,), width=16, depth=1), ud.sample(law, 256, steps=5), steps=20, folder="mine", progress=False)
assert torch.equal(ud.load("mine").sample(8), model.sample(8))
ud.show(model.sample(8)).save("points.png")
"""
TYPED = """
import undrift as ud
law: ud.GaussianMixture = ud.GaussianMixture([[0.0]], 1.0)
x = ud.sample(law, 4)
reveal_type(x)
"""


def holds(wheel: Path) -> None:
    """Whether all is in it that is not code, and nothing that belongs to the repository."""
    names = zipfile.ZipFile(wheel).namelist()
    package = [
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    missing = sorted({*package} - {*names})
    strange = [name for name in names if not name.startswith("undrift/") and ".dist-info/" not in name]
    if missing or strange or "undrift/py.typed" not in names:
        sys.exit(f"{wheel.name} lacks {missing}, and holds {strange}")


def run(*command: str, where: Path) -> str:
    """What a command prints. Exits if it fails."""
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Install it, and use it."""
    [wheel] = Path(sys.argv[1]).resolve().glob("undrift-*.whl")
    holds(wheel)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "env", with_pip=True)
        python, undrift = str(place / "env" / "bin" / "python"), str(place / "env" / "bin" / "undrift")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
        run(*pip, "torch", where=place)
        run(*pip, str(wheel), "mypy", where=place)
        empty = place / "empty"
        empty.mkdir()
        run(undrift, "--help", where=empty)
        run(undrift, "train", "toy", "steps=20", "network.width=16", "--out", "run", where=empty)
        run(undrift, "sample", "run", "-n", "8", "--out", "points.png", where=empty)
        run(undrift, "info", "run", where=empty)
        run(python, "-c", LINES, where=empty)
        (empty / "typed.py").write_text(TYPED)
        if 'Revealed type is "torch._tensor.Tensor"' not in (
            said := run(python, "-m", "mypy", "--strict", "typed.py", where=empty)
        ):
            sys.exit(f"a user's mypy sees no types: {said}")
    print(f"{wheel.name}: installed in a fresh environment, used by command and from Python, its types seen")


if __name__ == "__main__":
    main()
