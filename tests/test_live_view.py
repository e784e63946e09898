"""The live view of real daemons, on terminals as people have them."""

import os
import signal

import numpy as np
import pytest
from daemon import Daemon, layers
from terminal import Terminal

NAMED = """kind = "vector"
size = 2
standardize = true
channels = ["flow", "return"]
units = {flow = "m3/h"}"""
PARTS = {"input": NAMED, "layers": layers("gru 4"), "learning": "window = 1"}
FORECAST = 'kind = "forecast"\nsize = 2\nlags = 5'
READOUTS = {"linear": 'kind = "linear"\nsize = 2', "gaussian": 'kind = "gaussian"\nsize = 2', "forecast": FORECAST}
X = np.stack([np.arange(100) % 8, 1e3 + np.arange(100)], axis=1).astype(np.float32)
SAW = "".join("▁▂▃▄▅▆▇█"[int(x) % 8] for x in X[-60:, 0])


def row(lines: list[str], name: str) -> list[str]:
    """The cells of a row of the table."""
    (found,) = (line for line in lines if line.startswith(f"│ {name}"))
    return found.strip("│ ").split()


@pytest.mark.parametrize("kind", READOUTS)
def test_every_network_of_vectors_has_its_channels_with_units_and_the_last_sixty_values(kind):
    with Daemon(**PARTS, readout=READOUTS[kind]) as daemon, Terminal(daemon, columns=200) as terminal:
        with daemon.client(60.0) as client:
            outputs = [client.step(x, stream="pump") for x in X]
            lines = terminal.see("running", SAW, f"return +{X[-1, 1]:.0f} ", r"publisher . \d+ %")
        ends = [] if kind == "linear" else ["lower", "upper"]
        assert row(lines, "stream pump") == ["stream", "pump", "value", "forecast", *ends, "lately", "surprise"]
        flow, back = row(lines, "flow"), row(lines, "return")
        assert flow[:2] + flow[4 + len(ends) : 5 + len(ends)] == ["flow", "m3/h", SAW]
        assert float(back[1]) == X[-1, 1]
        assert float(back[2]) == pytest.approx(outputs[-1]["return"].prediction, rel=1e-3)
        assert back[3 + len(ends)][-1] == "█"
        daemon.stop()


def test_a_prediction_of_targets_is_no_forecast_and_a_terminal_of_ascii_has_it_all():
    parts = {"input": 'kind = "vector"\nsize = 2', "readout": READOUTS["linear"], "predict": "target"}
    with Daemon(**PARTS | parts) as daemon, Terminal(daemon, columns=80, PYTHONIOENCODING="ascii") as terminal:
        with daemon.client(60.0) as client:
            for x in X:
                client.send(x / 1000, target=-x / 1000)
            lines = terminal.see("value", r"publisher . \d+ %")
        text = "\n".join(lines)
        assert "prediction" in text
        assert "forecast" not in text
        assert text.isascii()
        assert max(map(len, lines)) <= 80
        daemon.stop()


def test_a_worker_that_hangs_is_seen_to_be_silent_and_then_started_again():
    with Daemon() as daemon, Terminal(daemon) as terminal:
        terminal.see("running", r"busy  gate . \d+ % ─ lstm 8 . \d+ % ─ softmax 256 . \d+ % ─ publisher . \d+ %")
        os.kill(daemon.workers()["publisher"].pid, signal.SIGSTOP)
        terminal.see(r"publisher silent \d s")
        terminal.see("running", r"busy  gate . \d+ % ─ lstm 8 . \d+ % ─ softmax 256 . \d+ % ─ publisher . \d+ %")
        daemon.stop()
