"""Tables in files that are resumed, follow each other, grow, are rotated, and in pipes: each row once, at its time."""

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.config import ConfigError, parse
from streamrnn.sources import Rereadable, SourceError
from streamrnn.sources.csv import CsvConfig
from streamrnn.sources.jsonl import JsonlConfig
from streamrnn.sources.pace import Pace
from streamrnn.sources.tables import files
from streamrnn.sources.tables.piped import PipedTable
from streamrnn.sources.tables.recorded import LOOK_AGAIN
from tests.test_tables import SECOND, Clock, drain, opened, written


def rows(source, limit=1000):
    """All that is there now."""
    found = []
    while len(frames := source.read(limit)):
        found += frames.values.tolist()
    return found


def numbers(source):
    """The same, where there is one column."""
    return [row[0] for row in rows(source)]


def taken(source, count) -> list:
    """Take so many rows; the position behind them, as it is kept."""
    while count:
        frames = source.peek(count)
        assert len(frames)
        source.take(len(frames))
        count -= len(frames)
    return json.loads(json.dumps(source.position))


# From any row on

MESSY = '''\
# from the pump
time;note;flow;temp
;;l/min;°C
2024-10-27 02:10;a;1,5;20

2024-10-27 02:50;"two
lines";2,5;
2024-10-27 02:20;"quoted ""b""";3,5;-
2024-10-27 02:55;c;4,5;5
'''
VALUES = [[1.5, 20], [2.5, math.nan], [3.5, math.nan], [4.5, 5]]


@pytest.mark.parametrize(
    "encode", [str.encode, lambda text: gzip.compress(text.encode()), lambda text: text.encode("utf-16")]
)
def test_a_run_goes_on_at_any_row(tmp_path, encode):
    config = CsvConfig(path=written(tmp_path, encode(MESSY)), zone="Europe/Berlin")
    values, times, _ = drain(opened(config))
    np.testing.assert_array_equal(values, VALUES)
    assert times == sorted(times)  # the second 02:20 is that of winter
    for row in range(len(VALUES) + 1):
        position = taken(opened(config), row)
        source = opened(config)
        source.go_to(position)
        left = drain(source)
        np.testing.assert_array_equal(left[0].reshape(-1, 2), np.reshape(VALUES[row:], (-1, 2)))
        assert left[1] == times[row:]


@settings(deadline=None)
@given(st.data())
def test_any_pattern_of_questions_gives_the_same(tmp_path_factory, data):
    """Whatever the pieces in which it is read from the disk, looked ahead, taken and resumed."""
    count = data.draw(st.integers(0, 40))
    cell = st.sampled_from(["7", "", '"1,5"', '"a\n1"', "x"])
    note = data.draw(st.lists(cell, min_size=count, max_size=count))
    text = "n,note\n" + "".join(
        f"{row},{note[row]}\n{data.draw(st.sampled_from(['', chr(10)]))}" for row in range(count)
    )
    config = CsvConfig(path=written(tmp_path_factory.mktemp("any"), text + f"{count},end"), columns=["n"])
    source, found = opened(config), []
    original, files.CHUNK = files.CHUNK, data.draw(st.sampled_from([1, 7, 64, 1 << 17]))
    try:
        while not source.ended:
            ahead = source.peek(data.draw(st.integers(0, 9)))
            fewer = data.draw(st.integers(0, len(ahead)))
            np.testing.assert_array_equal(source.peek(fewer).values, ahead.values[:fewer])
            source.take(fewer)
            found += ahead.values[:fewer, 0].tolist()
            if data.draw(st.booleans()):
                position = json.loads(json.dumps(source.position))
                source.close()
                source = opened(config)
                source.go_to(position)
            else:
                found += source.read(3).values[:, 0].tolist()
    finally:
        files.CHUNK = original
        source.close()
    assert found == list(range(count + 1))


def test_blocks_are_read_as_single_rows_are(tmp_path):
    """What is in the same block makes no difference to a row."""
    generator = np.random.default_rng(1)
    cells = [
        "1",
        "-2.5",
        "",
        "3e4",
        "NaN",
        " 7 ",
        '"8"',
        "true",
        "1e-320",
        "0.1234567890123456789",
        "123456789012345678",
    ]
    lines = [",".join(generator.choice(cells, 5)) for _ in range(20_000)]
    path = written(tmp_path, "a,b,c,d,e\n" + "\n".join(lines))
    values = drain(opened(CsvConfig(path=path)))[0]
    for row in (0, 1, 77, 5000, 19_999):
        alone = drain(opened(CsvConfig(path=written(tmp_path, "a,b,c,d,e\n1,1,1,1,1\n" + lines[row], "alone"))))[0]
        np.testing.assert_array_equal(values[row], alone[1])


def test_a_file_that_is_another_now_is_refused(tmp_path):
    config = CsvConfig(path=written(tmp_path, "a,b\n1,2\n3,4\n5,6\n"))
    position = taken(opened(config), 2)
    written(tmp_path, "a,b\n1,2\n3,5\n5,6\n")
    with pytest.raises(
        SourceError, match=r"pump.csv: is not what was read before: it has changed before byte 12, in line 4"
    ):
        opened(config).go_to(position)
    written(tmp_path, "a,b\n1,2\n")
    with pytest.raises(SourceError, match="is not what was read before"):
        opened(config).go_to(position)


def test_a_file_that_shrinks_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 8)
    config = CsvConfig(path=written(tmp_path, "a,b\n1,2\n3,4\n5,6\n7,8\n"))
    source = opened(config)
    assert len(source.read(1)) == 1
    os.truncate(config.path, 4)
    with pytest.raises(SourceError, match=r"pump.csv: was cut short while it was being read, at byte"):
        rows(source)


def test_what_comes_next_is_told_in_words(tmp_path):
    source = opened(CsvConfig(path=written(tmp_path, "a,b\n1,2\n3,4\n")))
    assert isinstance(source, Rereadable)
    assert source.where(taken(source, 1), 1_000) == "pump.csv: 1,000 rows from line 3 on"


# A folder


def folder_of(tmp_path, **texts) -> Path:
    folder = tmp_path / "days"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        written(folder, text, name)
    return folder


def test_a_folders_files_come_in_order(tmp_path):
    folder = folder_of(tmp_path, day10="a\n5\n6\n", day2="a\n1\n2\n", day9="a\n", day9b="3\n4")
    written(folder, gzip.compress(b"a\n7\n"), "day11.csv.gz")
    written(folder, "nothing", ".hidden")
    (folder / "day1").mkdir()
    config = CsvConfig(path=str(folder))
    assert drain(opened(config))[0].ravel().tolist() == [1, 2, 3, 4, 5, 6, 7]
    for row in range(8):
        source = opened(config)
        source.go_to(taken(opened(config), row))
        assert drain(source)[0].ravel().tolist() == [*range(row + 1, 8)]


def test_other_columns_in_a_later_file_are_an_error(tmp_path):
    source = opened(CsvConfig(path=str(folder_of(tmp_path, a="a,b\n1,2\n", b="b,a\n3,4\n"))))
    assert len(source.read(10)) == 1
    with pytest.raises(
        SourceError, match=r'days/b: line 1: its columns are "b, a", those of the first file are "a, b"'
    ):
        rows(source)


def test_an_empty_folder_is_an_error_or_waited_for(tmp_path):
    clock, folder = Clock(), folder_of(tmp_path)
    with pytest.raises(SourceError, match="has no files in it"):
        opened(CsvConfig(path=str(folder)))
    source = CsvConfig(path=str(folder), follow=True).begin(clock)
    assert (rows(source), source.ended) == ([], False)
    written(folder, "a\n1\n2", "1.csv")
    assert numbers(source) == []  # not before the next look
    assert source.delay() == pytest.approx(LOOK_AGAIN)
    clock.now += source.delay()
    assert numbers(source) == [1]
    written(folder, "a\n3\n", "2.csv")
    clock.now += 1
    assert numbers(source) == [2, 3]  # a file behind which another comes is whole
    source.close()


# A file that grows


class Growing:
    """A file that is written to and read by turns."""

    def __init__(self, folder, text="a\n1\n") -> None:
        self.folder, self.path, self.clock, self.age = folder, folder / "pump.csv", Clock(), 0
        if text is not None:
            self.write(text)
        self.config = CsvConfig(path=str(self.path), columns=["a"], follow=True)
        self.source = self.config.begin(self.clock)

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)
        self.age += 1
        os.utime(self.path, ns=(self.age * SECOND, self.age * SECOND))

    def rotate(self, name: str) -> None:
        self.path.rename(self.folder / name)

    def read(self) -> list[float]:
        self.clock.now += LOOK_AGAIN
        return numbers(self.source)

    def resume(self) -> None:
        position = json.loads(json.dumps(self.source.position))
        self.source.close()
        self.source = self.config.begin(self.clock)
        self.source.go_to(position)


def test_a_growing_file_is_followed(tmp_path):
    growing = Growing(tmp_path)
    assert growing.read() == [1]
    assert growing.read() == []
    growing.write("2\n3")
    assert growing.read() == [2]
    growing.write("4\n5\n")
    assert growing.read() == [34, 5]
    assert not growing.source.ended
    growing.write('"6')
    assert growing.read() == []
    growing.write('"\n')
    assert growing.read() == [6]


def test_a_file_that_is_not_there_is_waited_for(tmp_path):
    growing = Growing(tmp_path, None)
    assert growing.read() == []
    assert "pump.csv: is not there; waits for it" in growing.source.trouble
    growing.write("a\n")
    assert growing.read() == []
    growing.write("1\n")
    assert growing.read() == [1]
    assert growing.source.trouble == ""


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("name", ["pump.csv.1", "pump-20240101.csv", "pump.csv~"])
def test_a_file_put_away_is_read_to_its_end(tmp_path, name, resumed):
    growing = Growing(tmp_path)
    assert growing.read() == [1]
    growing.write("2\n3")
    growing.rotate(name)
    if resumed:
        growing.resume()
    assert growing.read() == [2]
    growing.path.touch()
    assert growing.read() == []  # nothing is in the new one: the old one may be written to
    growing.write("a\n4\n")
    if resumed:
        growing.resume()
    assert growing.read() == [3, 4]
    growing.resume()
    growing.write("5\n")
    assert growing.read() == [5]
    assert (growing.source.trouble, growing.source.lost) == ("", "")


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_that_was_away_for_long_reads_all_that_was_put_away_since(tmp_path, packed):
    growing = Growing(tmp_path)
    growing.write("2\n")
    growing.rotate("pump.csv.3")
    growing.write("a\n3\n4\n")
    assert growing.read()[-1] == 4
    growing.write("5\n")
    growing.rotate("pump.csv.2")
    growing.write("a\n6\n")
    growing.rotate("pump.csv.1")
    growing.write("a\n7\n")
    if packed:  # as logrotate does, under the time of the original
        for number in "123":
            path = tmp_path / f"pump.csv.{number}"
            status = path.stat()
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            os.utime(f"{path}.gz", ns=(status.st_atime_ns, status.st_mtime_ns))
            path.unlink()
    growing.resume()
    assert growing.read() == [5, 6, 7]
    assert growing.read() == []


def test_what_was_lost_is_said(tmp_path):
    growing = Growing(tmp_path)
    growing.write("2\n3\n")
    assert growing.read() == [1, 2, 3]
    growing.path.unlink()
    growing.write("a\n7\n8\n9\n10\n")
    growing.resume()
    assert "what was read up to line 5 is no longer there" in growing.source.lost
    assert growing.read() == [7, 8, 9, 10]


@pytest.mark.parametrize("text", ["a\n7\n", "a\n71\n72\n73\n74\n75\n"])
def test_a_file_cut_short_begins_anew(tmp_path, text):
    growing = Growing(tmp_path)
    growing.write("2\n3")
    assert growing.read() == [1, 2]
    os.truncate(growing.path, 0)
    growing.write(text)
    assert growing.read() == [float(cell) for cell in text.split()[1:]]
    assert "was cut short or written over" in growing.source.lost
    growing.resume()
    growing.write("6\n")
    assert growing.read() == [6]


# Pipes


def test_a_pipe_gives_rows_as_they_come():
    reader, writer = os.pipe()
    config = CsvConfig(path="-", columns=["flow"])
    source = PipedTable(reader, "pipe", config.look, Pace(0, Clock()))
    assert (source.fileno(), source.delay(), source.ended) == (reader, math.inf, False)
    assert len(source.read(10)) == 0
    os.write(writer, b"time,flow\n2024-01-01,1")
    assert source.delay() == 0
    assert (numbers(source), source.delay()) == ([], math.inf)
    os.write(writer, b".5\n2024-01-02,2\n2024-01-03,")
    assert source.read(1).values.tolist() == [[1.5]]
    assert source.delay() == 0
    assert (numbers(source), source.names) == ([2], ("flow",))
    os.write(writer, b"3")
    os.close(writer)
    assert numbers(source) == [3]
    assert (source.ended, source.fileno(), source.delay()) == (True, None, math.inf)
    source.close()


def test_a_pipe_says_what_cannot_be_read(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = opened(CsvConfig(path=str(path), columns=["a"]))
    assert (source.delay(), source.ended) == (math.inf, False)
    with path.open("w") as file:
        file.write("a\n1\nx\n")
    assert source.read(9).values.tolist() == [[1]]
    with pytest.raises(SourceError, match=r'fifo: line 3, column a: "x" is no number'):
        rows(source)
    source.close()


def test_a_dash_is_standard_input():
    kept, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    try:
        source = opened(JsonlConfig(path="-", columns=["a"]))
        os.write(writer, b'{"a": 1}\n{"a": 2}\n')
        os.close(writer)
        assert drain(source)[0].tolist() == [[1], [2]]
        source.close()
        os.fstat(0)  # and stays open
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reader)


# JSON Lines


def test_objects_have_fields_within_fields(tmp_path):
    lines = [
        {"at": "2024-01-01T00:00:00Z", "id": "a", "sensor": {"temp": 20.5, "on": True}, "data": [1, 2], "note": "x"},
        {"at": "2024-01-01T00:00:01Z", "id": 7, "sensor": {"temp": "n/a", "on": False}, "data": [3]},
        {"at": "2024-01-01T00:00:02Z", "id": "a", "sensor": None, "data": [4, "5"], "more": {}},
    ]
    config = JsonlConfig(path=written(tmp_path, "\n".join(map(json.dumps, lines))), key="id", time="at")
    source = opened(config)
    assert source.names == ("sensor.temp", "sensor.on", "data.0", "data.1")
    values, times, keys = drain(source, (1,))
    np.testing.assert_array_equal(values, [[20.5, 1, 1, 2], [np.nan, 0, 3, np.nan], [np.nan, np.nan, 4, 5]])
    assert (np.diff(times).tolist(), keys) == ([SECOND, SECOND], ["a", "7", "a"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1', 'line 3 is no JSON object: "{'),
        ("17", "line 3 is no JSON object"),
        ('{"a": "word"}', 'line 3, field a: "word" is no number'),
        ('{"a": {"b": 1}}', "line 3, field a: "),
        ('{"a": Infinity}', "line 3, field a: Infinity is not finite"),
        ('{"a": 1' + "0" * 400 + "}", "line 3, field a: "),
        ("[" * 50_000, "line 3 is no JSON object"),
    ],
)
def test_what_is_no_object_is_named(tmp_path, line, message):
    source = opened(JsonlConfig(path=written(tmp_path, '{"a": 1}\n{"a": NaN}\n' + line + "\n"), columns=["a"]))
    assert len(source.read(10)) == 2
    with pytest.raises(SourceError) as caught:
        source.read(10)
    assert str(caught.value).startswith(f"{tmp_path}/pump.csv: {message}")
    assert len(str(caught.value).splitlines()) == 1


def test_blocks_of_objects_are_read_as_single_ones_are(tmp_path):
    lines = [
        '{"t": 1700000000.5, "a": 1, "b": {"c": -2.5}}',
        '{"t": "1700000001", "a": null}',
        '{"a": true, "t": 1700000002}',
        '{"t": 1700000003, "a": "1e3", "b": {"c": "n/a"}}\r',
        '{"t": 1700000004, "a": 7, "b": {"c": 3}}',
    ]
    config = JsonlConfig(path=written(tmp_path, "\n".join(lines)), columns=["a", "b.c"], time="t")
    values, times, _ = drain(opened(config))
    np.testing.assert_array_equal(values, [[1, -2.5], [np.nan] * 2, [1, np.nan], [1000, np.nan], [7, 3]])
    assert times == [round((1700000000 + since) * SECOND) for since in (0.5, 1, 2, 3, 4)]
    for row in range(len(lines)):
        source = opened(config)
        source.go_to(taken(opened(config), row))
        np.testing.assert_array_equal(source.peek(1).values[0], values[row])


@pytest.mark.parametrize("kind", [CsvConfig, JsonlConfig])
@pytest.mark.parametrize("text", ['"', '"a\n', ",", "x\n", "\n", "#\n", "[", '{"a":'])
def test_what_goes_on_and_on_without_a_row_is_an_error(tmp_path, kind, text):
    with pytest.raises(SourceError, match=r"pump.csv: (has no |line 1)"):
        rows(opened(kind(path=written(tmp_path, text * (400_000 // len(text))))))


# When rows are due


def test_a_recording_is_played_at_its_own_pace(tmp_path):
    clock = Clock()
    text = "time,a\n0,0\n1,1\n1,2\n4,3\n2,4\n5,5\n"
    path = written(tmp_path, text)
    source = CsvConfig(path=path, time="time", pace="recorded", speed=2).begin(clock)
    due = []
    while len(due) < 6:
        assert source.delay() == 0
        due += [(row[0], clock.now - 1000) for row in rows(source)]
        clock.now += 0 if source.ended or source.delay() == math.inf else source.delay()
    assert due == [(0, 0), (1, 0.5), (2, 0.5), (3, 2), (4, 2), (5, 2.5)]


def test_a_recording_is_caught_up_on_for_a_second_at_most(tmp_path):
    clock = Clock()
    path = written(tmp_path, "time,a\n" + "".join(f"{row / 10},{row}\n" for row in range(1000)))
    source = CsvConfig(path=path, pace="recorded").begin(clock)
    assert len(source.read(1000)) == 1
    assert source.at_once in (10, 11)
    clock.now += 0.55
    assert len(source.read(1000)) == 5
    clock.now += 60
    assert len(source.read(1000)) == 11
    assert source.delay() == pytest.approx(0.1)
    resumed = CsvConfig(path=path, pace="recorded").begin(clock)
    resumed.go_to(source.position)
    assert (resumed.delay(), numbers(resumed)) == (0, [17])


def test_rows_keep_to_a_rate(tmp_path):
    clock = Clock()
    source = CsvConfig(path=written(tmp_path, "a\n" + "1\n" * 100), rate=10).begin(clock)
    assert (len(source.read(100)), len(source.read(100)), source.at_once) == (1, 0, 10)
    assert source.delay() == pytest.approx(0.1)
    clock.now += 0.5
    assert len(source.read(100)) == 5


# The config

CONFIG = """
name = "pump"
[input]
kind = "vector"
size = 0
[[layers]]
cell = "gru"
units = 4
[readout]
kind = "gaussian"
size = 0
[optimizer]
kind = "sgd"
learning_rate = 0.1
[source]
kind = "csv"
path = "pump.csv"
"""


def test_a_config_takes_its_size_and_its_names_from_the_table(tmp_path):
    written(tmp_path, "time,flow,temp\n2024-01-01,1,2\n2024-01-02,1,2\n")
    config = parse(CONFIG, folder=str(tmp_path))
    assert (config.input.size, config.readout.size, config.input.channels) == (2, 2, ["flow", "temp"])
    assert config.source.line == f"{tmp_path}/pump.csv, as fast as it learns"
    assert opened(config.source).names == ("flow", "temp")
    some = parse(CONFIG.replace("size = 0\n[[", 'size = 0\nchannels = ["temp"]\n[['), folder=str(tmp_path))
    assert (some.input.size, opened(some.source).names) == (1, ("temp",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = 0\n[[", "size = 3\n[[", '"input.size" must be 2, the number of columns (or 0'),
        ('kind = "vector"\nsize = 0', 'kind = "tokens"\nsize = 4', '"input.kind" must be "vector" with a csv source'),
        ('path = "pump.csv"', 'path = "nix.csv"', "nix.csv: no such file"),
        ('path = "pump.csv"', 'path = "-"', '"source.columns" must name the columns'),
        ('path = "pump.csv"', 'path = "nix.csv"\nfollow = true', '"source.columns" must name the columns'),
        ('path = "pump.csv"', 'path = "pump.csv"\ncolumns = ["flwo"]', "has no column flwo; it has time, flow, temp"),
        (
            'path = "pump.csv"',
            'path = "pump.csv"\ntime = ""\npace = "recorded"',
            'has no column of times, as pace = "recorded" needs',
        ),
        ('path = "pump.csv"', 'path = "pump.csv"\nspeed = 2.0', '"source.speed" needs pace = "recorded"'),
        ('path = "pump.csv"', 'path = "pump.csv"\nzone = "Mars/Base"', "Mars/Base"),
        ('path = "pump.csv"', 'path = "pump.csv"\ntime_format = "hours"', "hours"),
        ('path = "pump.csv"', 'path = "pump.csv"\nbad_rows = "drop"', '"source.bad_rows" must be "skip" or "stop"'),
        ('path = "pump.csv"', 'path = "a\\u0000b"', "holds a NUL character"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, old, new, message):
    written(tmp_path, "time,flow,temp\n2024-01-01,1,2\n2024-01-02,1,2\n")
    assert old in CONFIG
    with pytest.raises(ConfigError) as caught:
        parse(CONFIG.replace(old, new, 1), folder=str(tmp_path))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# Whatever lies there

noise = st.one_of(
    st.binary(max_size=300),
    st.text("0123456789.,;:-+eE\"'\t|\n\r #abT", max_size=300).map(str.encode),
    st.lists(
        st.sampled_from(["1", "2,5", '"', ",", ";", "\n", "a", "2024-01-01", "\r\n", " ", "{", '"a":', "}", "[", "]"]),
        max_size=80,
    ).map(lambda parts: "".join(parts).encode()),
)


@settings(deadline=None, max_examples=300)
@given(
    noise,
    st.sampled_from(["csv", "jsonl"]),
    st.booleans(),
    st.sampled_from(["stop", "skip"]),
    st.sampled_from([b"", b"\xff\xfe", b"\x1f\x8b", b"a,b\n1,2\n3,4\n"]),
)
def test_whatever_lies_there_gives_rows_or_one_line(tmp_path_factory, noise, kind, follow, bad_rows, top):
    path = written(tmp_path_factory.mktemp("noise"), top + noise)
    clock = Clock()
    config = {"csv": CsvConfig, "jsonl": JsonlConfig}[kind](path=path, follow=follow, bad_rows=bad_rows)
    assert "\n" not in outcome(config, clock)


def outcome(config, clock) -> str:
    """With what reading ends, if not with the last row."""
    try:
        config.size()
        source = config.begin(clock)
        for _ in range(200):
            source.read(5)
            json.dumps(source.position)
            clock.now += 1
    except SourceError as error:
        return str(error)
    return "" if source.ended or config.follow else "it never ends\n"
