"""Every study runs, is kept and is read back; the context shares what it should; figures and the list."""

import gc
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from study.made import MADE
from undrift.data import Spec
from undrift.error import UndriftError
from undrift.study import StudyContext, base, figure, perfect_imputer, record, report
from undrift.study.catalogue import OUT_OF_REACH, STUDIES, named

SOURCES = Path(base.__file__).parent
TINY = {
    "network": {"kind": "unet", "widths": [8, 16], "blocks": 1, "embedding": 32}, "steps": 10, "batch_size": 32,
    "sample_every": 0, "quality_every": 0, "monitor_every": 0, "snapshots": 0, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def context(judged_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies")
    shutil.copy(judged_run / "classifier.safetensors", out)
    return StudyContext(out, effort=0.01, changes=TINY)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_on_little_and_is_read_back(name, context, monkeypatch):
    monkeypatch.setattr(perfect_imputer, "fit", lambda network, *_: network.eval())  # a classifier for each mask takes its time
    study = STUDIES[name]
    result = study.run(context)
    assert len(result.findings) == len(study.claims)
    assert min(result.figure.size) > 100 and len(set(result.figure.convert("L").tobytes())) > 2
    assert len({len(row) for row in result.table}) <= 1
    assert bool(result.models) != study.toy
    record.save(result, context.out)
    kept = record.read(name, context.out)
    assert kept is not None and (kept.findings, kept.table, kept.key) == (result.findings, result.table, context.key(study.toy))
    assert kept.figure.size == result.figure.size
    text = "\n".join(report.lines(kept))
    assert study.name in text and all(f.says in text and f.wanted in text for f in kept.findings)


def test_models_are_trained_once_and_taken_up_by_the_next_lab(context):
    model = context.model("001-ddpm")
    assert context.model("001-ddpm") is model
    gc.collect()
    said = []
    again = StudyContext(context.out, effort=0.01, changes=TINY, tell=said.append)
    assert again.model("001-ddpm").trained == model.trained and said == ["the model 001-ddpm"]
    assert again.used == context.used[-1:] or again.used[0].startswith("001-ddpm: recipe digits")
    assert again.spent()[0] < 5


def test_a_run_stands_in_for_the_models_of_all_digits_and_for_no_other(tiny_run, tmp_path):
    context = StudyContext(tmp_path, run=tiny_run)
    assert context.folder("000-conditional") == context.folder("003-score") == tiny_run
    assert context.folder("001-smld") == tmp_path / "models" / "001-smld"
    assert "run digits" in (context.model("000-conditional") and context.used[0])
    assert context.key(False) != StudyContext(tmp_path).key(False) and context.key(True) == StudyContext(tmp_path).key(True)
    assert not list(tmp_path.iterdir())


def test_the_paper_s_settings_are_its_own_recipe_and_numbers(tmp_path):
    context = StudyContext(tmp_path, "somewhere", paper=True)
    assert context._recipe("001-smld") == ("001-smld", {"data_dir": "somewhere"})
    assert (
        context.count(20, 500),
        context.count(20),
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


def test_contrast_sees_blur_and_grain(context):
    x, _ = context.data[1].batch(torch.arange(300))
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0), 3, 1)
    noisy = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    seen = [context.contrast(y) for y in (blurred, x, noisy)]
    assert seen[0].value < 0.7 < 0.95 < seen[1].value < 1.05 < 1.1 < seen[2].value
    assert all(0 < e.standard_error < 0.05 for e in seen)


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


def test_one_page_of_all_with_pictures_inside(context):
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


def test_a_kept_result_that_is_damaged_is_none(context, tmp_path):
    result = STUDIES["001-fig3"].run(context)
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


def test_panels_stand_side_by_side_pixel_for_pixel_under_their_titles():
    red, blue = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    sheet = figure.panels({"a": red, "γ = 2\nin two lines, wider than its picture": blue})
    pixels = np.asarray(sheet).astype(int)
    for colour in ([255, 0, 0], [0, 0, 255]):
        rows, columns = np.nonzero((pixels == colour).all(2))
        assert len(rows) == 1200 and (np.ptp(rows), np.ptp(columns)) == (29, 39)
        above = pixels[: rows.min(), max(0, columns.min() - 120) : columns.max() + 120]
        assert (above < 128).any() and (pixels[rows.min() - 2 : rows.min()] == 255).all()
    assert sheet.width > 200 and (pixels[:, :4] == 255).all() and (pixels[:, -4:] == 255).all()  # the title is whole
    assert figure.panels({"a": red, "b": blue}, 1).height > figure.panels({"a": red, "b": blue}).height > 30
    assert figure.panels({"a": red}).tobytes() == figure.panels({"a": red}).tobytes()


def test_arrows_point_where_they_should():
    axis = torch.linspace(-1, 1, 3)
    grid = torch.cartesian_prod(axis, axis)
    up = figure.field(grid, torch.tensor([[0.0, 1.0]]).expand(9, 2), torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0, 0]), 1.0, 1.0, 300)
    pixels = np.asarray(up).astype(int)
    assert pixels[12, 12, 2] < 120 and (pixels[280:290, 280:290] == 255).all()  # densest at x = -1, y = 1: left, above
    dark = (pixels < 140).all(2)
    inner = dark[20:280, 120:180]  # of the middle column: two arrows whole, a cell high
    assert inner[:, 28:33].any(1).sum() > 150 and inner.any(0).sum() < 15
    rows = np.nonzero(dark[40:145, 140:160].sum(1) > 4)[0]
    assert len(rows) and rows.max() < 30  # the middle arrow starts at row 150, and its head is at its upper end, at row 54
    assert figure.digits(torch.zeros(4, 1, 8, 8), Spec.bounded((1, 8, 8), 0, 16, integer=True), 2, 1).size == (19, 19)


def test_a_cloud_is_where_its_points_are_or_says_that_they_are_elsewhere():
    right = np.asarray(figure.cloud(torch.tensor([[1.5, 1.5], [1.4, 1.5]]), 2.0, 200))[5:-5, 5:-5]
    rows, columns = np.nonzero((right < 200).any(2))
    assert rows.max() < 40 and columns.min() > 140
    far = np.asarray(figure.cloud(torch.tensor([[9.0, 9.0]]), 2.0, 200))[5:-5, 5:-5]
    assert (far < 100).any() and far.shape == (190, 190, 3)
