"""Machine code on the disk: what a config needs is compiled ahead, what no version here uses any more is removed."""

import os
import subprocess
import sys
import time

import pytest
from daemon import TIMEOUT

from streamrnn.workers import compilation


def compiled(folder, place, days, marker=True):
    """Kernels of a version, last used so many days ago."""
    (folder / place).mkdir(parents=True)
    (folder / place / "cells.nbi").touch()
    if marker:
        (folder / "compiled").mkdir()
        for part in ("", "LSTM"):
            (folder / "compiled" / f"part-{part}").touch()
    for path in (folder, folder / "compiled") if marker else (folder,):
        os.utime(path, (time.time() - days * 86400,) * 2)
    return folder


def test_kernels_that_nobody_has_used_for_a_month_are_removed(tmp_path):
    present = compiled(tmp_path / "present", "streamrnn_here", 40)
    gone = [compiled(tmp_path / "old", "streamrnn_here", 31), compiled(tmp_path / "bare", "streamrnn_here", 31, False)]
    kept = [
        present,
        compiled(tmp_path / "new", "streamrnn_here", 29),
        compiled(tmp_path / "far", "streamrnn_there", 99),
    ]
    (tmp_path / "file").touch()
    compilation.remove_unused(present)
    assert not any(folder.exists() for folder in gone)
    assert all((folder / "compiled").exists() for folder in kept)
    assert (tmp_path / "file").exists()


def test_a_start_and_a_checkpoint_are_uses(tmp_path, monkeypatch):
    folder = compiled(tmp_path / "present", "streamrnn_here", 40)
    monkeypatch.setattr(compilation, "COMPILED", folder / "compiled")
    compilation.compile_kernels(["LSTM"], lambda text: None)
    assert time.time() - (folder / "compiled").stat().st_mtime < 60
    os.utime(folder / "compiled", (0, 0))
    compilation.note_use()
    assert time.time() - (folder / "compiled").stat().st_mtime < 60


@pytest.mark.long
def test_only_what_a_config_needs_is_compiled_and_the_rest_when_it_is_needed(tmp_path):
    """Real processes, a folder of their own."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}

    def warm(*config):
        command = [sys.executable, "-m", "streamrnn", "warm", *config]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return done.stdout

    def indexes():
        return {path.name.split("-")[0] for path in tmp_path.rglob("*.nbi")}

    assert "compiled in" in warm("text")
    some = indexes()
    assert {"lstm.step", "adam.step", "softmax.score", "stage.backward", "loop.serve"} <= some
    assert not some & {"gru.step", "peephole.step", "sgd.step", "gaussian.score"}
    assert "were compiled already" in warm("text")
    assert "compiled in" in warm("sensors")
    of_files = {
        "gru": "step gradient own_gradient",
        "forecast": "predict start push_expected expected features expert_means forecast learn learn_one watch dismiss",
        "memory": "value push",
        "least_squares": "start dot predict learn",
        "mixture": "follow judge mean_of spread_of",
        "alarm": "decide report be_patient",
        "departure": "follow factor squared_distance",
        "detectors": "miss observe",
        "envelope": "enter enter_channel excess off_last_week",
        "tail": "evidence insert",
    }
    assert indexes() - some == {f"{file}.{name}" for file, names in of_files.items() for name in names.split()}
