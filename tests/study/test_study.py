"""Every study runs, is kept and is read back; the lab shares what it should; figures and the list."""

import gc
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from study.made import MADE
from undrift.data import Spec
from undrift.error import UndriftError
from undrift.study import StudyContext, base, figure, p003_fig6, record, report
from undrift.study.catalogue import OUT_OF_REACH, STUDIES, named

SOURCES = Path(base.__file__).parent
TINY = {
    "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 32}, "steps": 10, "batch_size": 32,
    "sample_every": 0, "quality_every": 0, "monitor_every": 0, "snapshots": 0, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(judged_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies")
    shutil.copy(judged_run / "classifier.safetensors", out)
    return StudyContext(out, effort=0.01, changes=TINY)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_on_little_and_is_read_back(name, lab, monkeypatch):
    monkeypatch.setattr(p003_fig6, "fit", lambda network, *_: network.eval())  # a classifier for each mask takes its time
    study = STUDIES[name]
    result = study.run(lab)
    assert len(result.findings) == len(study.claims)
    assert min(result.figure.size) > 100 and len(set(result.figure.convert("L").tobytes())) > 2
    assert len({len(row) for row in result.table}) <= 1
    assert bool(result.models) != study.toy
    record.save(result, lab.out)
    kept = record.read(name, lab.out)
    assert kept is not None and (kept.findings, kept.table, kept.key) == (result.findings, result.table, lab.key(study.toy))
    assert kept.figure.size == result.figure.size
    text = "\n".join(report.lines(kept))
    assert study.name in text and all(f.says in text and f.wanted in text for f in kept.findings)


def test_models_are_trained_once_and_taken_up_by_the_next_lab(lab):
    model = lab.model("001-ddpm")
    assert lab.model("001-ddpm") is model
    gc.collect()
    said = []
    again = StudyContext(lab.out, effort=0.01, changes=TINY, tell=said.append)
    assert again.model("001-ddpm").trained == model.trained and said == ["the model 001-ddpm"]
    assert again.used == lab.used[-1:] or again.used[0].startswith("001-ddpm: recipe digits")
    assert again.spent()[0] < 5


def test_a_run_stands_in_for_the_models_of_all_digits_and_for_no_other(tiny_run, tmp_path):
    lab = StudyContext(tmp_path, run=tiny_run)
    assert lab.folder("000-conditional") == lab.folder("003-score") == tiny_run
    assert lab.folder("001-smld") == tmp_path / "models" / "001-smld"
    assert "run digits" in (lab.model("000-conditional") and lab.used[0])
    assert lab.key(False) != StudyContext(tmp_path).key(False) and lab.key(True) == StudyContext(tmp_path).key(True)
    assert not list(tmp_path.iterdir())


def test_the_paper_s_settings_are_its_own_recipe_and_numbers(tmp_path):
    lab = StudyContext(tmp_path, "somewhere", paper=True)
    assert lab._recipe("001-smld") == ("001-smld", {"data_dir": "somewhere"})
    assert (
        lab.count(20, 500),
        lab.count(20),
        StudyContext(tmp_path).count(20, 500),
        StudyContext(tmp_path, effort=0.1).count(300, least=40),
    ) == (
        500,
        20,
        20,
        40,
    )
    with pytest.raises(UndriftError, match="give --data-dir"):
        _ = StudyContext(tmp_path, paper=True).data


def test_contrast_sees_blur_and_grain(lab):
    x, _ = lab.data[1].batch(torch.arange(300))
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0), 3, 1)
    noisy = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert lab.contrast(blurred) < 0.7 < 0.95 < lab.contrast(x) < 1.05 < 1.1 < lab.contrast(noisy)


def test_what_is_out_of_reach_has_a_reason():
    covered = {x for study in STUDIES.values() for x in study.covers}
    assert covered | OUT_OF_REACH.keys() >= {f"X{k}" for k in range(1, 20)} and not covered & OUT_OF_REACH.keys()
    assert {"X18", "X19", "E10"} <= OUT_OF_REACH.keys() and all(len(reason) > 60 for reason in OUT_OF_REACH.values())
    text = "\n".join(report.listed())
    assert all(name in text for name in (*STUDIES, *OUT_OF_REACH))


def test_each_study_is_one_short_file():
    files = [path for path in SOURCES.glob("p0*.py") if not path.stem.endswith("_samplers")]  # which studies share
    assert len(files) == len(STUDIES)
    for path in files:
        text = path.read_text()
        assert len(text.splitlines()) < 150
        assert not re.search(r"import .*\b_(?!_)\w|\w\._(?!_)\w", text.replace("from __future__", "")), f"{path}: a private name"


def test_an_unknown_study_is_named_by_the_nearest():
    with pytest.raises(UndriftError, match='did you mean "000-fig4"'):
        named("000-fgi4")
    assert len(named("all")) == len(STUDIES)


def test_one_page_of_all_with_pictures_inside(lab):
    findings = {name: STUDIES[name].judge(right) for name, (right, _) in MADE.items()}
    image = Image.new("RGB", (120, 120), "red")
    found = [
        base.Result(n, f, [["a|b", "c"], ["1", "2"]], 1.0, 1.0, "fast settings", ("m: 1",), "k", image)
        for n, f in findings.items()
    ]
    page = report.html_page(found)
    assert page.count("data:image/png;base64") == len(STUDIES) and "<script" not in page and 'src="http' not in page
    text = report.markdown(found, "there/")
    for study in STUDIES.values():
        assert f"<h2>{study.name}</h2>" in page and f"### {study.name}\n" in text and f"(there/{study.name}.png)" in text
    assert "a\\|b" in text and "0 differs" in report.counted(found)


def test_a_kept_result_that_is_damaged_is_none(lab, tmp_path):
    result = STUDIES["001-fig3"].run(lab)
    record.save(result, tmp_path)
    numbers = tmp_path / "001-fig3.json"
    numbers.write_text(numbers.read_text()[:50])
    assert record.read("001-fig3", tmp_path) is None and record.read("001-fig4", tmp_path) is None
    record.save(result, tmp_path)
    whole = json.loads(numbers.read_text())
    assert record.read("001-fig3", tmp_path) is not None
    for wrong in (
        {"findings": [whole["findings"][0] | {"verdict": "<b>true</b>"}]}, {"findings": 3}, {"models": [1]}, {"seconds": "x"},
        {"study": "001-fig4"}, {"table": [["a", "b"], ["c"]]}, {"table": 1}, {"settings": None}, {"extra": 1},
    ):  # fmt: skip
        numbers.write_text(json.dumps(whole | wrong))
        assert record.read("001-fig3", tmp_path) is None, wrong
    numbers.write_text("[]")
    assert record.read("001-fig3", tmp_path) is None


def test_panels_stand_side_by_side_and_bars_are_as_high_as_their_values():
    red, blue = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    sheet = figure.panels({"a": red, "b": blue})
    pixels = {sheet.getpixel((x, sheet.height - 20)) for x in range(sheet.width)}
    assert {(255, 0, 0), (0, 0, 255)} <= pixels
    assert figure.panels({"a": red, "b": blue}, 1).height > sheet.height > 30
    chart = figure.bars({"one": [10.0, 5.0]}, ["x", "y"], size=(200, 200))
    colour = figure.COLOURS[0]
    heights = [sum(chart.getpixel((x, y)) == colour for y in range(30, 200)) for x in (80, 150)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=2) and heights[1] > 40


def test_arrows_point_where_they_should():
    axis = torch.linspace(-1, 1, 3)
    grid = torch.cartesian_prod(axis, axis)
    up = figure.field(grid, torch.tensor([[0.0, 1.0]]).expand(9, 2), torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0, 0]), 1.0, 1.0, 300)
    assert up.getpixel((3, 3))[2] < 120  # the densest point is at x = -1, y = 1: left, above
    dark = torch.tensor([[up.getpixel((x, y)) == (40, 40, 40) for x in range(300)] for y in range(300)])
    assert dark[:, 148:151].any(1).sum() > 190 and dark.any(0).sum() < 30  # three columns, of arrows a cell high
    assert figure.digits(torch.zeros(4, 1, 8, 8), Spec.bounded((1, 8, 8), 0, 16, integer=True), 2, 1).size == (19, 19)
