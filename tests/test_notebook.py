"""In a notebook: the fifteen lines of the docs show a bar while they train, and samples, laws and models show themselves."""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training_from_python.md"


def test_the_fifteen_lines_in_a_notebook(tmp_path):
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)[1]
    cells = [
        "import os\nos.environ['OMP_NUM_THREADS'] = '1'",
        code,
        "points",
        "model",
        "ud.show(points)",
        "ud.VP()",
        "model.denoiser",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [[kind for output in cell.outputs for kind in output.get("data", {})] for cell in notebook.cells]
    assert shown[1].count("text/html") == 2  # a bar for each call of fit
    bars = [output["data"]["text/html"] for output in notebook.cells[1].outputs if "data" in output]
    assert all('<progress value="1.0000"' in bar and "100 %" in bar for bar in bars)
    assert "image/png" in shown[2] and "text/html" in shown[3] and "image/png" in shown[4] and "image/png" in shown[5]
    texts = [cell.outputs[0]["data"]["text/plain"] for cell in notebook.cells[2:]]
    assert texts[0] == "Samples: 500 points of 2 numbers (float32)" and texts[1].startswith("Model: data of shape 2;")
    assert texts[4].startswith("Denoiser(Net with")
    said = [output["text"] for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    assert len(said) == 1 and said[0].startswith("undrift: steps is now 1200 (was 1000)")
