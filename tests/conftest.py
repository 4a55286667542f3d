"""Shared fixtures: exact laws to test against, and statistics with stated false-alarm rates."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the tests run two at a time on two cores

import hypothesis
import pytest
import torch

import undrift as ud
from undrift.process import Monotone

torch.set_num_threads(1)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, in processes that tests start, too
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
hypothesis.settings.register_profile("ci", max_examples=30, deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci")

PROCESSES = {
    "VE": ud.VE(0.01, 30.0),
    "VP": ud.VP(),
    "SubVP": ud.SubVP(),
    "Cosine": ud.Cosine(),
    "Rectified": ud.Rectified(),
    "Karras": ud.Karras(),
    "DDPM": ud.DDPM(),
    "DDPM-cosine": ud.DDPM(200, schedule="cosine"),
    "DDPM-sigmoid": ud.DDPM(500, schedule="sigmoid"),
    "SMLD": ud.SMLD(40, 0.01, 20.0),
    "Learned": ud.Learned(curve=Monotone(14.0, -9.0).requires_grad_(False)),
    "LinearSDE": ud.LinearSDE(lambda t: -0.5 - t, lambda t: 1 + 3 * t**2),
}


SIX = {name: PROCESSES[name] for name in ("VE", "VP", "SubVP", "Cosine", "Rectified", "Karras")}

# Every sampler, with steps enough for its law to pass a test with 1,000 samples.
ALL_SAMPLERS = {
    "ancestral": (ud.Ancestral(), 200),
    "half": (ud.Ancestral(0.5), 100),
    "ddim": (ud.Ancestral(0), 100),
    "euler-maruyama": (ud.EulerMaruyama(), 400),
    "euler in t": (ud.EulerMaruyama(0), 500),
    "reverse-diffusion": (ud.ReverseDiffusion(), 300),
    "churn": (ud.Churn(), 60),
    "euler": (ud.Euler(), 100),
    "heun": (ud.Heun(), 40),
    "midpoint": (ud.Midpoint(), 40),
    "rk4": (ud.RungeKutta(), 20),
    "adaptive": (ud.Adaptive(), 20),
    "dpm2s": (ud.DPM2S(), 40),
    "dpm2m": (ud.DPM2M(), 40),
    "dpm3m": (ud.DPM3M(), 30),
    "unipc": (ud.UniPC(), 30),
    "deis": (ud.DEIS(), 30),
    "plms": (ud.PLMS(), 30),
    "abm": (ud.ABM(), 30),
    "velocity-ab": (ud.VelocityAB(), 30),
    "velocity-abm": (ud.VelocityAB(corrector=True), 30),
    "sde-dpm2m": (ud.SDEDPM2M(), 60),
    "sa-solver": (ud.SASolver(), 60),
    "sa-solver half": (ud.SASolver(tau=0.5), 60),
    "predictor-corrector": (ud.PredictorCorrector(ud.Ancestral()), 100),
    "corrector-predictor": (ud.PredictorCorrector(ud.DPM2M(), corrector_first=True), 100),
    "metropolis": (ud.PredictorCorrector(ud.Ancestral(), ud.Metropolis(0.3)), 60),
    "repaint": (ud.RePaint(resamplings=2), 60),
    "printed": (ud.Printed(ud.ReverseDiffusion()), 300),
    "annealed-langevin": (ud.AnnealedLangevin(ud.sampler.Hold(), ud.Langevin(0.28), 30), 30),
}


@pytest.fixture(params=list(PROCESSES), ids=str)
def process(request):
    return PROCESSES[request.param]


@pytest.fixture
def times(process):
    """Times inside the interval, none on a kink of a chain."""
    fractions = torch.tensor([0.00137, 0.0213, 0.1117, 0.3331, 0.5003, 0.7717, 0.9993], dtype=torch.float64)
    return process.t_min + fractions * (process.t_max - process.t_min)


def mixture(process=None, kind="anisotropic"):
    """Two well separated components of unequal weight in the plane."""
    means = [[1.5, 0.5], [-1.0, -0.5]]
    if kind == "isotropic":
        return ud.GaussianMixture(means, 0.4, [0.3, 0.7], process)
    covs = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]]]
    return ud.GaussianMixture(means, covs, [0.3, 0.7], process)


def energy_distance(a, b):
    return 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()


def same_law(a, b, permutations=200, seed=0):
    """p-value of the energy two-sample test by permutation: a false alarm happens with probability p."""
    n, pooled = len(a), torch.cat([a, b])
    distances = torch.cdist(pooled, pooled)
    generator = torch.Generator().manual_seed(seed)

    orders = [torch.arange(len(pooled)), *(torch.randperm(len(pooled), generator=generator) for _ in range(permutations))]
    signs = torch.full((len(pooled), len(orders)), -1.0 / len(b), dtype=pooled.dtype)
    for column, order in enumerate(orders):
        signs[order[:n], column] = 1.0 / n
    observed, *others = -(signs * (distances @ signs)).sum(0)  # one product for all: the matrix is read once
    return (1 + (torch.stack(others) >= observed).sum().item()) / (1 + permutations)


Counted = ud.Counted


def undrift(*words, capsys):
    """The command line in this process: exit code, output, error."""
    from undrift.cli import main

    try:
        code = main([str(w) for w in words])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(words, message, folder, capsys):
    """A mistake is one line with `message` and exit code 2, and nothing in the folder is made, lost or changed."""

    def files():
        return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*") if p.name != ".lock"}

    before = files()
    code, _, err = undrift(*words, capsys=capsys)
    assert code == 2
    assert message in err
    assert err.startswith("undrift: ")
    assert err.count("\n") == 1
    assert files() == before


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Decoded pictures go here, not to the user's own cache."""
    os.environ["UNDRIFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    return tmp_path_factory


def write_pictures(folder, names, size=(20, 16), seed=0):
    """Smooth pictures in colour that differ, PNG or JPEG by their suffix; `size` is (width, height)."""
    import numpy as np
    from PIL import Image

    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, i])
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BILINEAR).save(path)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run folder with a tiny class-conditional model of the embedded digits, 25 steps old."""
    from rich.console import Console

    from undrift.training.session import train_run

    folder = tmp_path_factory.mktemp("run") / "digits"
    overrides = {
        "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 32}, "steps": 25, "batch_size": 32,
        "sample_every": 0, "checkpoint_every": 10, "log_every": 5, "device": "cpu",
    }  # fmt: skip
    train_run("digits", overrides, folder, False, Console(quiet=True), __import__("time").perf_counter())
    return folder


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    """A copy of that folder, to be damaged."""
    import shutil

    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture(scope="session")
def judged_run(tiny_run, tmp_path_factory):
    """That folder with the classifier of its data, which takes seconds to train."""
    import shutil

    from undrift.metrics.recognition import train_judge
    from undrift.run import Run

    folder = shutil.copytree(tiny_run, tmp_path_factory.mktemp("judged") / "digits")
    train_judge(*Run(folder).data(), cache=folder / "classifier.safetensors")
    return folder


@pytest.fixture
def judged_copy(judged_run, tmp_path):
    """A copy of that folder, to be changed."""
    import shutil

    return shutil.copytree(judged_run, tmp_path / "judged")


def pytest_collection_modifyitems(items):
    """Mark the fast and the slow tier (`tiers.py`)."""
    import pytest

    from tiers import FAST, SLOW, chosen

    root = Path(__file__).parent
    names = {item: f"{item.path.relative_to(root).as_posix()}::{item.nodeid.partition('::')[2]}" for item in items}
    for mark, tier in ((pytest.mark.fast, FAST), (pytest.mark.slow, SLOW)):
        of_it = chosen(list(names.values()), tier)
        for item, name in names.items():
            if name in of_it:
                item.add_marker(mark)
