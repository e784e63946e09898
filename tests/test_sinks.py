"""Sinks: what an output is as a record, the files that records are in, and real daemons whose processes die."""

import csv
import json
import os
import re
import resource
import signal
from datetime import UTC, datetime, timedelta
from math import isfinite, isnan, nan
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from daemon import Daemon, layers, wait_for
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import streamrnn as sr
from streamrnn.cli.main import app
from streamrnn.client.output import Output
from streamrnn.config import ConfigError, parse
from streamrnn.model.tables import Anomaly, Forecast, Gaussian, Linear, Softmax
from streamrnn.protocol.keys import Keys
from streamrnn.sinks import About, SinkError, table_of
from streamrnn.sinks.records import Records, iso

ROOT = Path(__file__).parent.parent
TYPES = {
    "linear": Linear(size=2),
    "gaussian": Gaussian(size=2),
    "softmax": Softmax(size=7),
    "forecast": Forecast(size=2, horizons=(1, 6), anomaly=Anomaly(day=144)),
}
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
numbers = st.floats(width=64)


def output(readout, seq=0, stream="a", number=0.5, time=None):
    y, size = np.full(readout.width, number), 0 if readout.classes else readout.size
    if isinstance(readout, Forecast):
        y[readout.forecasts :] = 0.0
    return Output(stream, seq, y, number, np.full(size, number), np.full(size, -number), time)


def open_sink(kind, path, records, **keys):
    return table_of({"kind": kind, "path": str(path), **keys}).open(About("test", records))


def jsonl(*paths):
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def rows(*paths):
    found = []
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            found += csv.DictReader(file)
    return found


# --- records ---------------------------------------------------------------------------------------------------------


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_time_is_said_to_the_nanosecond(nanoseconds):
    text = iso(nanoseconds)
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(whole).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(0, 1)
    assert seconds * 10**9 + int(fraction.ljust(9, "0")) == nanoseconds


two, some = st.lists(names, min_size=2, max_size=2, unique=True), st.lists(st.tuples(names, numbers), max_size=4)


@pytest.mark.parametrize("kind", TYPES)
@given(two, some)
def test_whatever_a_stream_is_called_and_whatever_a_number_is_comes_back(tmp_path_factory, kind, channels, said):
    folder, readout = tmp_path_factory.mktemp("sinks"), TYPES[kind]
    records = Records(readout, channels)
    made = [records.of(output(readout, seq, name, number), "r") for seq, (name, number) in enumerate(said)]
    for sort in ("jsonl", "csv"):
        sink = open_sink(sort, folder / sort, records)
        assert sink.last("r") is None
        assert sink.write(made) == len(made)
        assert sink.flush(1.0)
        sink.close()
    assert jsonl(folder / "jsonl") == made
    for record, row in zip(made, rows(folder / "csv"), strict=True):
        assert (row["stream"], int(row["seq"]), row["run"]) == (record["stream"], record["seq"], "r")
        assert (float(row["loss"]) if row["loss"] else None) == record["loss"]
        flat = [value for channel in record.get("channels", {}).values() for value in leaves(channel)]
        if flat:
            read = [float(text) if text else None for text in list(row.values())[-len(flat) :]]
            assert sorted(map(repr, read)) == sorted(map(repr, flat))
    for (_, number), record in zip(said, made, strict=True):
        assert record["loss"] == (number if isfinite(number) else None)


def leaves(value):
    return [leaf for each in value.values() for leaf in leaves(each)] if isinstance(value, dict) else [value]


def test_a_record_says_what_its_readout_does():
    y = np.arange(float(TYPES["forecast"].width))
    y[TYPES["forecast"].forecasts :] = 0.0
    y[TYPES["forecast"].forecasts : TYPES["forecast"].forecasts + 4] = [5.0, 2.0, 4.5, 1.0]
    output = Output("a", 3, y, 1.5, np.array([1.0, 0.5]), np.array([7.0, nan]), 10**9)
    record = Records(TYPES["forecast"], ["flow", "heat"]).of(output, "r")
    said = TYPES["forecast"].read(y)
    assert record["time"] == "1970-01-01T00:00:01Z"
    assert (record["score"], record["threshold"], record["event"]) == (5.0, 4.5, "begins")
    assert (record["channels"]["flow"]["value"], record["channels"]["heat"]["value"]) == (7.0, None)
    for k, name in enumerate(["flow", "heat"]):
        channel = record["channels"][name]
        for horizon, found in ((1, channel), (6, channel["ahead"]["6"])):
            assert found["prediction"] == said[horizon].mean[k]
            assert found["spread"] == said[horizon].spread[k]
            assert (found["lower"], found["upper"]) == (said[horizon].lower[k], said[horizon].upper[k])
    tokens = Records(TYPES["softmax"], None).of(
        Output("a", 0, np.array([0.1, 0.2, 0.0, 0.4, 0.3, 0.0, 0.0], np.float32), nan), "r"
    )
    assert [each["token"] for each in tokens["likeliest"]] == [3, 4, 1]
    assert tokens["loss"] is None


# --- files -----------------------------------------------------------------------------------------------------------


def made(count, stream="a", kind="gaussian", first=0):
    records = Records(TYPES[kind], ["flow", "heat"])
    return records, [records.of(output(TYPES[kind], first + k, stream, k / 7), "r") for k in range(count)]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@given(st.sampled_from(["a", 'b"\n\n"', "\n", '""', "x\ny,z"]), st.floats(0, 1), st.integers(1, 9))
def test_a_file_that_was_cut_anywhere_goes_on_behind_its_last_whole_record(tmp_path_factory, kind, stream, cut, count):
    path, (records, every) = tmp_path_factory.mktemp("sinks") / "out", made(count, stream)
    sink = open_sink(kind, path, records)
    sink.last("r")
    sink.write(every)
    sink.close()
    whole = path.read_bytes()
    os.truncate(path, round(cut * len(whole)))
    sink = open_sink(kind, path, records)
    last = sink.last("r")
    sink.write(every[0 if last is None else last + 1 :])
    sink.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_files_are_rotated_by_size_and_the_oldest_goes(tmp_path, kind):
    path, (records, every) = tmp_path / "out", made(100)
    for start in range(0, 100, 7):
        sink = open_sink(kind, path, records, rotate=2000, keep=3)
        assert sink.last("r") == (start - 1 if start else None)
        sink.write(every[start : start + 7])
        sink.close()
    assert open_sink(kind, path, records).last("another") is None
    files = [tmp_path / name for name in ("out.3", "out.2", "out.1", "out")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(0 < file.stat().st_size <= 2000 for file in files)
    seqs = [int(record["seq"]) for record in (jsonl if kind == "jsonl" else rows)(*files)]
    assert seqs == list(range(seqs[0], 100))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_rotation_that_was_interrupted_loses_nothing(tmp_path, kind):
    path, (records, every) = tmp_path / "out", made(100)
    sink = open_sink(kind, path, records, rotate=2000, keep=50)
    sink.last("r")
    sink.write(every[:60])
    sink.close()
    os.replace(path, tmp_path / "out.0")  # as a rotation leaves it: the newest file is to be begun
    for k in range(len(list(tmp_path.iterdir())) - 1, -1, -1):
        os.replace(tmp_path / f"out.{k}", tmp_path / f"out.{k + 1}")
    os.replace(tmp_path / "out.2", tmp_path / "out.3.aside")  # and one in the middle of a shift
    sink = open_sink(kind, path, records, rotate=2000, keep=50)
    assert sink.last("r") == 59
    sink.write(every[60:])
    sink.close()
    count = len([file for file in tmp_path.iterdir() if not file.name.endswith("aside")])
    read = jsonl if kind == "jsonl" else rows
    found = {int(record["seq"]) for file in tmp_path.iterdir() for record in read(file)}
    assert found == set(range(100))
    assert count >= 4


def test_a_full_disk_leaves_no_half_line_and_it_goes_on_when_there_is_room(tmp_path):
    path, (records, every) = tmp_path / "out", made(100)
    sink = open_sink("jsonl", path, records)
    sink.last("r")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(SinkError, match="out: File too large"):
            sink.write(every)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sink.close()
    assert all(record in every for record in jsonl(path))
    sink = open_sink("jsonl", path, records)
    last = sink.last("r")
    sink.write(every[0 if last is None else last + 1 :])
    sink.close()
    assert jsonl(path) == every


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_another_has_written_is_left_alone(tmp_path, kind):
    path, (records, every) = tmp_path / "out", made(3)
    path.write_text("time;flow\n1;2\n3;4")
    with pytest.raises(SinkError, match="written by something else"):
        open_sink(kind, path, records).last("r")
    assert path.read_text() == "time;flow\n1;2\n3;4"
    path.unlink()
    sink = open_sink(kind, path, records)
    sink.last("r")
    sink.write(every)
    with pytest.raises(SinkError, match="another sink"):
        open_sink(kind, path, records).last("r")


def test_a_csv_with_other_columns_is_rotated(tmp_path):
    path, (records, every) = tmp_path / "out", made(3)
    sink = open_sink("csv", path, records)
    sink.last("r")
    sink.write(every)
    sink.close()
    other, more = made(2, kind="linear", first=3)
    sink = open_sink("csv", path, other)
    assert sink.last("r") == 2
    sink.write(more)
    sink.close()
    assert [int(row["seq"]) for row in rows(tmp_path / "out.1", path)] == [0, 1, 2, 3, 4]


# --- the config ------------------------------------------------------------------------------------------------------

CONFIG = (ROOT / "configs/socket.toml").read_text()


def problem(table):
    with pytest.raises(ConfigError) as error:
        parse(f"{CONFIG}\n[[sinks]]\n{table}")
    return str(error.value)


def test_what_the_page_shows_is_a_config_and_paths_are_those_in_its_folder():
    (tables,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/sinks.md").read_text(), re.DOTALL)
    files, table, mqtt, kafka = parse(f"{CONFIG}\n{tables}", folder="/etc/streamrnn").sinks
    assert [each.kind for each in (files, table, mqtt, kafka)] == ["jsonl", "csv", "mqtt", "kafka"]
    assert (files.path, files.rotate, files.keep) == ("/etc/streamrnn/outputs.jsonl", 2**26, 4)
    assert [files.wants(name) for name in ("boiler", "pump", "preview", "~1")] == [True, True, False, False]
    assert [table.wants(name) for name in ("boiler", "pump")] == [True, False]
    assert mqtt.password_file == "/etc/streamrnn/mqtt.password"
    assert (mqtt.pause, msgspec.structs.replace(mqtt, discovery=None).pause, kafka.topic) == (1.0, 0.0, "outputs")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('kind = "jsonl"', '"sinks[0].path" is missing'),
        ('kind = "json"\npath = "x"', '"sinks[0].kind" must be'),
        ('kind = "csv"\npath = "/"', '"sinks[0].path" must name a file'),
        ('kind = "csv"\npath = "x"\n[[sinks]]\nkind = "csv"\npath = "x"', '"sinks" has'),
        ('kind = "mqtt"\nurl = "http://here"', '"sinks[0].url" must be mqtt://'),
        ('kind = "mqtt"\nurl = "mqtt://here"\nprefix = "a/#"', '"sinks[0].prefix" cannot'),
        ('kind = "mqtt"\nurl = "mqtt://here"\npassword_file = "x"', '"sinks[0].user" must be given'),
        ('kind = "kafka"\nservers = []\ntopic = "x"', '"sinks[0].servers" must be'),
    ],
)
def test_a_table_that_cannot_be_is_explained(table, words):
    assert words in problem(table)


@pytest.mark.parametrize(
    "table", ['kind = "mqtt"\nurl = "mqtt://here"', 'kind = "kafka"\nservers = ["a"]\ntopic = "b"']
)
def test_what_is_not_installed_is_named(table, monkeypatch):
    for module in ("mqtt", "kafka"):
        monkeypatch.setattr(f"streamrnn.sinks.{module}.find_spec", lambda _: None)
    assert "pip install streamrnn[" in problem(table)


# --- daemons ---------------------------------------------------------------------------------------------------------

STREAMS = ("a", 'b, the "other"\none', "c")
PARTS = {
    "input": 'kind = "vector"\nsize = 2\nstandardize = true\nchannels = ["flow", "heat"]',
    "readout": 'kind = "gaussian"\nsize = 2',
    "layers": layers("lstm 8", "gru 8"),
    "learning": "window = 4\ngradient_delay = 1",
}


class Sinking(Daemon):
    """A daemon with sinks; `more` are further tables."""

    def __init__(self, sinks, more="", **parts):
        super().__init__(**{**PARTS, **parts})
        tables = "".join(f'\n[[sinks]]\nkind = "{kind}"\n{keys}\n' for kind, keys in sinks)
        self.config.write_text(self.config.read_text() + tables + more)

    def sink_process(self):
        """The process of sinks, when there is one."""
        wait_for(lambda: self.sinks()[0]["pid"])
        return psutil.Process(self.sinks()[0]["pid"])

    def sinks(self):
        with self.client() as client:
            return client.status()["sinks"]


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2)).cumsum(0)


def feed(client, count, first=0):
    """Frames of several streams, in turn."""
    for k, vector in enumerate(vectors(first + count)[first:], first):
        client.send(vector, stream=STREAMS[k % len(STREAMS)], time=10**9 * k)
    client.flush()


def without_run(records):
    return [{name: value for name, value in record.items() if name != "run"} for record in records]


@pytest.fixture(scope="module")
def undisturbed():
    """What sinks of a daemon say to whom nothing happens, and what a client hears: of 600 frames."""
    with Sinking([("jsonl", 'path = "out.jsonl"'), ("csv", 'path = "out.csv"')]).start() as daemon:
        with daemon.client() as client, client.subscribe(timeout=60.0) as outputs:
            feed(client, 600)
            heard = [next(outputs) for _ in range(600)]
        daemon.stop()
        yield jsonl(daemon.folder / "out.jsonl"), rows(daemon.folder / "out.csv"), heard


def test_files_say_what_a_client_hears(undisturbed):
    records, table, heard = undisturbed
    heard = sorted(heard, key=lambda output: output.seq)
    assert [record["seq"] for record in records] == [int(row["seq"]) for row in table] == list(range(600))
    assert len({record["run"] for record in records}) == 1
    for record, row, output in zip(records, table, heard, strict=True):
        assert record["stream"] == row["stream"] == output.stream
        assert record["time"] == row["time"] == iso(output.time)
        assert record["loss"] == (None if isnan(output.loss) else output.loss)
        assert row["loss"] == ("" if isnan(output.loss) else repr(output.loss))
        for k, name in enumerate(["flow", "heat"]):
            said = record["channels"][name]
            assert said["prediction"] == float(row[f"{name} prediction"]) == output.y[k]
            assert said["spread"] == float(row[f"{name} spread"]) == output.y[2 + k]
            if output.seq >= len(STREAMS):
                value = vectors(600)[output.seq][k]
                assert said["value"] == float(row[name]) == pytest.approx(value)
                assert said["loss"] == float(row[f"{name} loss"]) == output.losses[k]


@pytest.mark.parametrize("placement", ["placement = [1, 2]", 'placement = "single"'])
def test_kills_of_any_process_lose_nothing_and_say_nothing_twice(undisturbed, placement):
    more = "\n[supervision]\nrestarts = 100\n"
    sinks = [("jsonl", 'path = "out.jsonl"\nrotate = 20000\nkeep = 100'), ("csv", 'path = "out.csv"')]
    with Sinking(sinks, more, pipeline=placement).start() as daemon:
        for k in range(6):
            with daemon.client() as client:
                feed(client, 100, 100 * k)
                if k % 3 == 0:
                    daemon.sink_process().kill()
                elif k % 3 == 1:
                    list(daemon.workers().values())[k % 2].kill()
            if k % 3 == 2:
                daemon.kill()
                daemon.start()
        daemon.stop()
        old = sorted(daemon.folder.glob("out.jsonl.*"), key=lambda path: -int(path.suffix[1:]))
        records = jsonl(*old, daemon.folder / "out.jsonl")
        assert old
        assert without_run(records) == without_run(undisturbed[0])
        assert without_run(rows(daemon.folder / "out.csv")) == without_run(undisturbed[1])


def test_what_a_sink_has_not_written_yet_is_in_the_checkpoint(undisturbed):
    with Sinking([("jsonl", 'path = "out.jsonl"')]).start() as daemon:
        with daemon.client() as client:
            feed(client, 200)
            wait_for(lambda: daemon.sinks()[0]["written"] == 200)
            daemon.sink_process().send_signal(signal.SIGSTOP)
            feed(client, 200, 200)
        assert CliRunner().invoke(app, ["checkpoints", "take", str(daemon.config)]).exit_code == 0
        with daemon.client() as client:
            feed(client, 100, 400)
        daemon.kill()
        daemon.start()
        with daemon.client() as client:
            feed(client, 100, 500)
        daemon.stop()
        assert without_run(jsonl(daemon.folder / "out.jsonl")) == without_run(undisturbed[0])


def test_what_is_gone_from_the_history_is_missed_and_said(undisturbed):
    with Sinking([("jsonl", 'path = "out.jsonl"')], "\n[outputs]\nhistory = 20000\n").start("--log", "json") as daemon:
        with daemon.client() as client:
            feed(client, 30)
            wait_for(lambda: daemon.sinks()[0]["written"] == 30)
            process = daemon.sink_process()
            process.send_signal(signal.SIGSTOP)
            feed(client, 570, 30)
            wait_for(lambda: client.status()["frames"] == 600)
            process.send_signal(signal.SIGCONT)
            wait_for(lambda: sum(daemon.sinks()[0][name] for name in ("written", "missed")) == 600)
            missed = daemon.sinks()[0]["missed"]
        printed = daemon.stop()
        events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        records = jsonl(daemon.folder / "out.jsonl")
    told = [event["message"] for event in events if event["event"] == "sink_missed"]
    ranges = [re.search(r"frames ([\d,]+) to ([\d,]+) were gone", text).groups() for text in told]
    gone = {seq for start, end in ranges for seq in range(int(start), int(end) + 1)}
    assert gone == set(range(600)) - {record["seq"] for record in records}
    assert len(gone) == missed > 0
    assert all(record in without_run(undisturbed[0]) for record in without_run(records) if record["loss"] is not None)


def test_a_sink_that_cannot_write_stops_neither_the_other_nor_the_pipeline():
    sinks = [("jsonl", 'path = "there/out.jsonl"'), ("csv", 'path = "out.csv"')]
    daemon = Sinking(sinks)
    (daemon.folder / "there").write_text("not a folder")
    with daemon.start("--log", "json"):
        with daemon.client() as client:
            feed(client, 60)
            wait_for(lambda: daemon.sinks()[1]["written"] == 60)
            wait_for(lambda: daemon.sinks()[0]["trouble"])
            (daemon.folder / "there").unlink()
            wait_for(lambda: daemon.sinks()[0]["written"] == 60)
            wait_for(lambda: not daemon.sinks()[0]["trouble"])
        printed = daemon.stop()
        assert [record["seq"] for record in jsonl(daemon.folder / "there/out.jsonl")] == list(range(60))
        for event in ("sink_trouble", "sink_back"):
            assert f'"event":"{event}"' in printed


def test_a_sink_takes_the_streams_it_is_for_and_a_new_run_begins_anew():
    with Sinking([("jsonl", 'path = "out.jsonl"\nstreams = ["a"]')]).start() as daemon:
        with daemon.client() as client:
            feed(client, 30)
        daemon.stop()
        daemon.start("--new")
        with daemon.client() as client:
            feed(client, 30)
            run = client.status()["run"]
        daemon.stop()
        records = jsonl(daemon.folder / "out.jsonl")
    assert [record["seq"] for record in records] == 2 * list(range(0, 30, 3))
    assert {record["stream"] for record in records} == {"a"}
    assert len({record["run"] for record in records[:10]}) == 1
    assert {record["run"] for record in records[10:]} == {run} != {records[0]["run"]}


@pytest.mark.parametrize("more", ["\n[security]\ncurve = true\n", "\n[journal]\nenabled = false\n"])
def test_sinks_write_behind_keys_and_without_a_journal(more):
    with Sinking([("jsonl", 'path = "out.jsonl"')], more) as daemon:
        key = daemon.folder / "ann.key"
        Keys(daemon.folder / "state" / "keys").new("ann", key)
        daemon.start()
        with sr.Client(f"ipc://{daemon.folder}/control", 20.0, key if "curve" in more else None) as client:
            feed(client, 60)
        daemon.stop()
        assert [record["seq"] for record in jsonl(daemon.folder / "out.jsonl")] == list(range(60))
