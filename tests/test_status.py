"""What a daemon shows of itself is true after failures too: real daemons, killed, and the counting by itself."""

import json
import threading
from itertools import pairwise

import numpy as np
import pytest
from daemon import Daemon, layers, wait_for
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.cli.client import alarm_in, status_lines
from streamrnn.workers.supervision.status import Passed, Rate

TEXT = b"Figures that are not true are worse than none. "


def test_what_is_shown_while_workers_die_is_never_less_than_before():
    seen = []
    with Daemon(layers=layers("gru 6")) as daemon:
        daemon.start()
        over = threading.Event()

        def look():
            with daemon.client(60.0) as client:
                while not over.wait(0.01):
                    seen.append(client.status())

        thread = threading.Thread(target=look)
        with daemon.client(60.0) as client:
            for token in TEXT:
                for stream in "abc":
                    client.step(token, stream=stream)
            wait_for(lambda: client.status()["frames"] == 3 * len(TEXT))
            thread.start()
            for name in ("publisher", "gate", "stages-1"):
                daemon.workers()[name].kill()
                for token in TEXT:
                    client.step(token, stream="a")
            wait_for(lambda: client.status()["frames"] == 6 * len(TEXT))
            assert client.status()["recoveries"] == 3
            over.set()
            thread.join()
        daemon.stop()
    frames = [status["frames"] for status in seen]
    assert frames[0] >= 3 * len(TEXT)
    assert frames == sorted(frames)
    streams = [status["streams"] for status in seen]
    assert streams == sorted(streams)
    assert set(streams) <= {3, 4}  # the live view's own comes in between
    assert {"running", "recovering"} <= {status["state"] for status in seen}
    assert all(status["frames_per_second"] >= 0 for status in seen)
    spans = [after["seconds"] - before["seconds"] for before, after in pairwise(seen)]
    counted = sum(status["frames_per_second"] * span for status, span in zip(seen, spans, strict=False))
    assert counted < 1.5 * 6 * len(TEXT)  # with those that were replayed it would be three times as many
    assert all(status["loss"] is not None and status["curve"] == [] for status in seen)


def test_a_summary_counts_what_was_new_and_not_what_was_replayed():
    with Daemon(layers=layers("gru 6"), source='kind = "text"\npasses = 0\nrate = 500') as daemon:
        daemon.start()
        with daemon.client() as client:
            wait_for(lambda: client.status()["frames"] > 1000)
        daemon.kill()
        report = daemon.folder / "out.json"
        done = daemon.attempt("--max-frames", "300", "--json", str(report))
        assert done.returncode == 0
        result = json.loads(report.read_text())
        manifest = json.loads((daemon.checkpoint() / "manifest.json").read_text())
    assert result["new_frames"] == 300
    assert result["frames"] == manifest["frames"] > 1300
    assert result["frames_per_second"] == pytest.approx(300 / result["seconds"])
    summary = next(line for line in done.stdout.splitlines() if line.startswith("frames"))
    assert f"{result['frames']:,}  in the run, 300 of them in" in summary


def test_without_a_journal_what_is_lost_is_not_counted_and_what_comes_anew_is():
    with Daemon(layers=layers("gru 6"), source='kind = "none"\n[journal]\nenabled = false') as daemon:
        daemon.start()
        with daemon.client(60.0) as client:
            for token in TEXT:
                client.step(token)
            wait_for(lambda: client.status()["frames"] == len(TEXT))
            daemon.workers()["publisher"].kill()
            wait_for(lambda: (client.status()["recoveries"], client.status()["state"]) == (1, "running"))
            for token in TEXT[:10]:
                client.step(token)
            wait_for(lambda: client.status()["frames"] == 10)
        daemon.stop()


def test_the_newest_values_forecasts_and_alarms_are_told_and_each_alarm_once():
    x = np.random.default_rng(3).normal([0.0, 1e6], size=(800, 2))
    x[250::150] += 50.0
    with Daemon(
        input='kind = "vector"\nsize = 2\nstandardize = true\nchannels = ["flow", "return"]',
        readout='kind = "forecast"\nsize = 2\nlags = 5',
        layers=layers("gru 4"),
        learning="window = 1",
        source='kind = "none"\n[anomaly]\nday = 24\nthreshold = 2.0',
    ) as daemon:
        daemon.start()
        with daemon.client(60.0) as client:
            assert (client.status()["channels"], client.status()["alarms"]) == (None, [])
            outputs = [client.step(frame, stream="pump") for frame in x]
            alarms = [found for output in outputs if (found := alarm_in(output, client))]
            assert len(alarms) > 3
            wait_for(lambda: (client.status()["channels"] or {}).get("seq") == len(x) - 1)
            wait_for(lambda: client.status()["channels"]["stream"] == "pump")
            told = client.status()["channels"]
            said, seen = client.readout.read(outputs[-1].y)[1], client.readout.anomalies(outputs[-1].y)
            assert told["name"] == ["flow", "return"]
            wanted = {"value": x[-1], "forecast": said.mean, "lower": said.lower, "upper": said.upper}
            wanted |= {"recent": x[-5:].T, "score": seen.score, "threshold": seen.threshold}
            for name, values in wanted.items():
                np.testing.assert_allclose(told[name], values, rtol=1e-5)
            daemon.workers()["publisher"].kill()
            wait_for(lambda: (client.status()["recoveries"], client.status()["state"]) == (1, "running"))
            wait_for(lambda: client.status()["frames"] == len(x))
            facts = client.status()
            newest = [(alarm["seq"], alarm["state"], alarm["words"]) for alarm in facts["alarms"]]
            assert newest == [(found.seq, found.event, found.words) for found in alarms[-3:]]
            assert [alarm["frames_ago"] for alarm in facts["alarms"]] == [len(x) - 1 - seq for seq, _, _ in newest]
            lines = [line for name, line in status_lines(facts) if name == "alarm"]
            assert lines[-1] == f"pump, {len(x) - 1 - newest[-1][0]} frames ago: {newest[-1][2]}"
        printed = daemon.stop()
    for found in alarms:
        assert printed.count(f"stream pump, frame {found.seq}: {found.words}\n") == 1


@given(
    start=st.integers(0, 50),  # in the checkpoint
    replayed=st.integers(0, 50),
    reports=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=20),
    early=st.integers(0, 10),
)
def test_new_frames_are_those_behind_what_the_gate_had_when_it_opened(start, replayed, reports, early):
    """Previews come only a while after that; some frames come before it, others in the same report."""
    passed, frames, previews, caught_up = Passed(), start, 0, False
    for k, (more, shown) in enumerate(reports):
        if k == min(early, len(reports) - 1):
            passed.opened(start + replayed)
        frames, previews = frames + more, previews + shown * caught_up
        if passed.until is None:
            frames = min(frames, start + replayed)
        passed.look(frames, frames + previews)
        caught_up = passed.until is not None and frames >= start + replayed
        assert passed.frames == frames
        assert passed.new == max(frames - start - replayed, 0)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=40))
def test_after_a_failure_what_is_replayed_counts_once(steps):
    passed, most, now = Passed(), 0, 0
    passed.opened(0)
    passed.look(0, 0)
    for more, fails in steps:
        now = now // 2 if fails else now + more
        most = max(most, now)
        passed.look(now, now)
        assert (passed.frames, passed.new) == (most, most)


def test_a_rate_is_over_the_last_seconds():
    rate = Rate()
    assert [rate.look(now, frames) for now, frames in ((0.0, 0), (1.0, 10), (2.0, 10), (4.0, 40), (9.0, 40))] == [
        0.0,
        10.0,
        5.0,
        10.0,
        0.0,
    ]


def test_what_is_left_of_catching_up_is_told():
    frames, left = 200_000, []
    with Daemon(layers=layers("rnn 4"), source='kind = "text"\npasses = 0') as daemon:
        text = daemon.config.read_text()
        daemon.config.write_text(text + "checkpoint_seconds = 0\nrecovery_seconds = 0\n")
        daemon.start()
        with daemon.client(60.0) as client:
            wait_for(lambda: client.status()["frames"] >= frames)
            daemon.workers()["stages-0"].kill()
            wait_for(lambda: client.status()["state"] == "catching up")
            while (status := client.status())["state"] == "catching up":
                assert status["frames"] >= frames
                if status["catching_up"]:
                    left.append(status["catching_up"])
        daemon.stop()
    assert left
    counts = [each["frames"] for each in left]
    assert counts == sorted(counts, reverse=True)
    assert 0 < counts[0] < 10 * frames
    assert all(each["seconds"] is None or each["seconds"] >= 0 for each in left)
