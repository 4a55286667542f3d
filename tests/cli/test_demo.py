"""The demonstration, on a network so small that only its words and files are looked at."""

import json
import shutil

from conftest import undrift

TINY = (
    "network={kind: unet, widths: [8], blocks: 1, embedding: 16}",
    "steps=3",
    "batch_size=16",
    "sample_every=0",
    "monitor_every=0",
)


def test_the_demo_trains_draws_judges_and_leaves_a_report(judged_run, tmp_path, capsys):
    """Twice, the second time from what is there; a stranger's numbers beside the report are left alone."""
    run = tmp_path / "run"
    assert undrift("train", "digits", *TINY, "--out", run, capsys=capsys)[0] == 0
    shutil.copy(judged_run / "classifier.safetensors", run)  # of the same data: no other one is trained
    (run / "report.json").write_text('{"mine": 1}')
    for _ in range(2):
        code, out, err = undrift("demo", "digits", *TINY, "--out", run, capsys=capsys)
        assert (code, err) == (0, "")
        assert "recognised as the class asked for" in out and "nearest training example (cosine)" in out
        said = out.partition("Look at")[2]
        for name in (
            "samples/grid.png",
            "samples/denoising.png",
            "samples/denoising.gif",
            "samples/neighbours.png",
            "report-2.html",
        ):
            assert str(run / name) in " ".join(said.split()) or name in said
            assert (run / name).stat().st_size > 1000
    assert (run / "report.json").read_text() == '{"mine": 1}'
    assert json.loads((run / "report-2.json").read_text())["runs"][0]["samples"] == 1000
    assert not (run / "report-3.html").exists()
