"""`python -m benchmarks.cuda` where there is no GPU: it says so, and runs through on a simulated device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_GPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


def run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.cuda", *options]
    return subprocess.run(command, cwd=ROOT, env=NO_GPU, capture_output=True, encoding="utf-8", timeout=600)


def test_without_a_gpu_it_says_so_in_one_line():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no GPU" in line
    assert "--simulate" in line


@pytest.mark.long
def test_it_runs_through_on_a_simulated_device_and_no_bit_differs(tmp_path):
    path = tmp_path / "found.json"
    done = run("--simulate", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert found["simulated"]
    cases = found["identity"]["cases"]
    assert len(cases) >= 5
    assert found["identity"]["left_out"] == []
    assert all(case["updates"] > 0 and case["differs"] == [] for case in cases)
    for part in (
        "LSTM",
        "Peephole",
        "GRU",
        "Coupled",
        "RNN",
        "Softmax",
        "Linear",
        "Gaussian",
        "Forecast",
        "Adam",
        "SGD",
    ):
        assert any(part in case["case"] for case in cases), part
    assert found["left_out"] == []
    assert {row["what"] for row in found["speed"]} >= {"1 stream, step", "2 streams, step and learn"}
    assert all(row["ours"] > 0 for row in found["speed"])
    (costs,) = found["costs"]
    times = {cost["what"]: cost["times"] for cost in costs["costs"]}
    assert times["score"] == times["forward of a cell"] == times["backward of a cell"] == 1
    assert times["update"] == 2 / 16  # of the layer and of the readout, once a window
