"""The sources: every byte once and in order, at its time and not before; sensors on a steady clock."""

import math
import os
import types
from pydoc_data.topics import topics

import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.sources import NoSource, Source, SourceError, SourceTable, reading, table_of
from streamrnn.sources.sensors import SensorsConfig, SensorSource, sensor_names
from streamrnn.sources.text import PipeSource, TextConfig, TextSource, open_text


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drain(source, limits=(1 << 20,)) -> bytes:
    """All that a source gives, asked for in pieces of the given sizes, over and over."""
    pieces = []
    while not source.ended:
        for limit in limits:
            tokens = source.read(limit).values
            assert tokens.dtype == np.int64
            assert tokens.shape == (len(tokens),)
            assert len(tokens) <= limit
            pieces.append(tokens)
    return np.concatenate(pieces).astype(np.uint8).tobytes() if pieces else b""


@given(st.binary(max_size=50), st.integers(1, 4), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.data())
def test_every_byte_of_every_pass_comes_once_and_in_order(text, passes, limits, data):
    skipped = data.draw(st.integers(0, len(text) * passes + 3))
    source = TextSource(text, passes)
    source.go_to(skipped)
    assert drain(source, limits) == (text * passes)[skipped:]
    assert source.delay() == math.inf
    assert len(source.read(5)) == 0


def test_no_passes_means_for_ever():
    source = TextSource(b"ab", passes=0)
    source.go_to(1_000_001)
    assert b"".join(bytes(source.read(9).values.astype(np.uint8)) for _ in range(4)) == b"bababab"
    assert not source.ended


@given(st.floats(0.01, 1e4), st.integers(1, 40), st.integers(1, 7))
def test_a_rate_lets_each_frame_out_when_it_is_due(rate, count, limit):
    clock = Clock()
    source = TextSource(bytes(count), rate=rate, clock=clock)
    for frame in range(count):
        assert source.delay() == 0
        assert clock.now - 1000 == pytest.approx(frame / rate, abs=1e-6)
        assert len(source.read(limit)) == 1
        assert len(source.read(limit)) == 0  # the next one is not due yet
        clock.now += min(source.delay(), 1e3)
    assert source.ended


def test_after_a_pause_at_most_a_second_is_caught_up_on():
    clock = Clock()
    source = TextSource(bytes(10_000), rate=100, clock=clock)
    assert len(source.read(1000)) == 1
    clock.now += 0.5
    assert len(source.read(1000)) == 50
    clock.now += 3600
    assert len(source.read(1000)) == 101
    assert len(source.read(1000)) == 0


def test_skipped_frames_take_no_time():
    clock = Clock()
    source = TextSource(bytes(100), rate=1, clock=clock)
    source.go_to(50)
    assert source.delay() == 0
    assert len(source.read(9)) == 1


def test_a_file_is_read_as_it_stands(tmp_path):
    text = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
    path = tmp_path / "text"
    path.write_bytes(text)
    source = open_text(str(path), passes=2)
    assert source.fileno() is None
    assert source.delay() == 0
    assert drain(source) == text * 2
    source.close()


def test_a_file_that_shrinks_is_an_error_and_no_crash(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(bytes(100))
    source = open_text(str(path))
    source.read(10)
    os.truncate(path, 10)
    with pytest.raises(SourceError, match="cut short while it was being read, at byte 10"):
        source.read(10)
    source.close()


def test_a_file_that_grows_is_read_to_where_it_ended(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"abc")
    source = open_text(str(path), passes=2)
    with path.open("ab") as file:
        file.write(b"def")
    assert drain(source, (2,)) == b"abcabc"
    source.close()


def test_an_empty_file_ends_without_a_frame(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    for passes in (1, 0):
        source = open_text(str(path), passes)
        assert drain(source) == b""
        source.close()


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "No such file"), (".", "is a folder"), ("a\0b", "null byte")]
)
def test_what_cannot_be_opened_is_named(tmp_path, name, message):
    with pytest.raises(SourceError, match=message) as caught:
        open_text(f"{tmp_path}/{name}")
    assert str(caught.value).startswith(f"{tmp_path}/{name}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_pipe_is_never_waited_for():
    reader, writer = os.pipe()
    source = PipeSource(reader, "pipe")
    assert source.fileno() == reader
    assert source.delay() == math.inf
    assert len(source.read(10)) == 0
    os.write(writer, b"hello")
    assert source.delay() == 0
    source.go_to(None)  # what was seen before does not come again: nothing to pass over
    assert bytes(source.read(3).values.astype(np.uint8)) == b"hel"
    assert bytes(source.read(9).values.astype(np.uint8)) == b"lo"
    assert not source.ended
    os.close(writer)
    assert source.delay() == 0
    assert len(source.read(9)) == 0
    assert source.ended
    assert (source.fileno(), source.delay()) == (None, math.inf)
    assert os.get_blocking(reader)
    source.close()


def test_a_pipe_keeps_to_its_rate():
    clock = Clock()
    reader, writer = os.pipe()
    source = PipeSource(reader, "pipe", rate=10, clock=clock)
    os.write(writer, b"abc")
    os.close(writer)
    assert [len(source.read(9)), len(source.read(9))] == [1, 0]
    assert source.delay() == pytest.approx(0.1)
    clock.now += 0.2
    assert len(source.read(9)) == 2
    clock.now += 0.1
    assert drain(source) == b""
    source.close()


def test_a_named_pipe_may_come_before_its_writer(tmp_path):
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    source = open_text(path)
    assert (source.delay(), len(source.read(9)), source.ended) == (math.inf, 0, False)
    with open(path, "wb") as writer:
        writer.write(b"late")
    assert drain(source) == b"late"
    source.close()


def test_a_dash_is_standard_input():
    kept, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    try:
        source = open_text("-")
        os.write(writer, b"typed")
        os.close(writer)
        assert drain(source) == b"typed"
        source.close()
        os.fstat(0)  # and stays open
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reader)


def opened(table: SourceTable) -> Source | None:
    """As the gate opens what it is told in JSON."""
    return table_of(msgspec.to_builtins(table)).open()


def test_the_config_says_which_source_it_is(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"abc")
    assert opened(NoSource()) is None
    assert drain(opened(TextConfig(path=str(path), passes=2))) == b"abcabc"
    assert drain(opened(reading(str(path), TextConfig(passes=0)))) == b"abc"  # on the command line: once
    sensors = opened(SensorsConfig())
    assert isinstance(sensors, SensorSource)
    assert sensors.names == sensor_names()
    default = opened(TextConfig())
    assert drain(default) == "\n\n".join(topics.values()).encode()


def test_sensors_are_read_on_a_steady_clock():
    clock = Clock()
    source = SensorSource(10, clock)
    assert source.size == len(source.names) == len(psutil.cpu_times(percpu=True)) + 5
    assert (source.ended, source.fileno(), source.delay()) == (False, None, 0)
    for tick in range(5):
        clock.now = 1000 + tick / 10
        assert source.delay() == 0
        assert source.read(0).values.shape == (0, source.size)
        frames = source.read(100).values
        assert (frames.shape, frames.dtype) == ((1, source.size), np.float64)
        assert np.isfinite(frames).all()
        assert (frames >= 0).all()
        assert source.read(100).values.shape == (0, source.size)
        clock.now += 0.03
        assert source.delay() == pytest.approx(0.07, abs=1e-5)
    clock.now = 1000 + 2.55  # ticks 5 to 24 are gone: one reading now, the next one at tick 26
    assert len(source.read(100)) == 1
    assert source.delay() == pytest.approx(0.05, abs=1e-5)


def test_rates_are_the_logarithm_of_bytes_per_second(monkeypatch):
    clock = Clock()
    counters = types.SimpleNamespace(read_bytes=100, write_bytes=0, bytes_recv=5000, bytes_sent=7)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: counters)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: counters)
    source = SensorSource(10, clock)
    clock.now += 0.5
    counters.read_bytes, counters.bytes_recv, counters.bytes_sent = 600, 5001, 0  # the last one started again
    assert source.read(1).values[0, -4:] == pytest.approx([math.log1p(1000), 0, math.log1p(2), 0])


def test_counters_that_a_machine_lacks_read_as_0(monkeypatch):
    def missing(**_):
        raise FileNotFoundError("/proc/diskstats")

    monkeypatch.setattr(psutil, "disk_io_counters", missing)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: None)
    assert SensorSource().read(1).values[0, -4:].tolist() == [0, 0, 0, 0]


def test_a_core_that_goes_away_reads_as_0(monkeypatch):
    source = SensorSource()
    monkeypatch.setattr(psutil, "cpu_percent", lambda percpu: [50.0])
    cores = len(source.names) - 5
    assert source.read(1).values[0, :cores].tolist() == [0.5] + [0.0] * (cores - 1)
