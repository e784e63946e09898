"""Tables as sources: every row once and in its order, from any of them on, however the table is written."""

import csv
import gzip
import io
import math
import re
import string
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamrnn.sources import NO_TIME, SourceError, table_of
from streamrnn.sources.csv import CsvConfig

SECOND = 10**9


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def written(folder, text, name="pump.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def drain(source, limits=(1000,), turns=10_000):
    """All rows of a source, asked for in pieces of the given sizes over and over: values, times, keys."""
    values, times, keys = [], [], []
    for turn in range(turns):
        if source.ended:
            return np.array(values).reshape(-1, len(source.names)), times, keys
        limit = limits[turn % len(limits)]
        frames = source.read(limit)
        assert len(frames) <= limit
        assert frames.values.dtype == np.float64
        values += frames.values.tolist()
        times += [] if frames.times is None else frames.times.tolist()
        keys += frames.keys or []
    raise AssertionError("it does not end")


def read(text, tmp_path, name="pump.csv", kind=CsvConfig, **options):
    """A table's channels, values, times and keys."""
    source = opened(kind(path=written(tmp_path, text, name), **options))
    try:
        rows = drain(source)
        return source.names, *rows
    finally:
        source.close()


def opened(table):
    """As the gate opens what it is told in JSON."""
    return table_of(msgspec.to_builtins(table)).open()


def problem(text, tmp_path, **options) -> str:
    """The line with which reading ends."""
    with pytest.raises(SourceError) as caught:
        read(text, tmp_path, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def nanoseconds(*when, zone=UTC, fold=0) -> int:
    return round(datetime(*when, tzinfo=zone, fold=fold).timestamp()) * SECOND


# How tables are written


PLAIN = "time,flow,temp\n2024-01-01 00:00:00,1.5,20\n2024-01-01 00:01:00,2.5,-3e2\n"
VALUES, TIMES = [[1.5, 20], [2.5, -300]], [nanoseconds(2024, 1, 1), nanoseconds(2024, 1, 1, 0, 1)]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(" ", "T").replace(",", "   "),
        PLAIN.replace("\n", " \n").replace(" 00", "T00").replace(",", "  "),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("temp", "temp").replace("\n2024", ",,\n2024").replace("20\n", "20,,\n").replace("e2\n", "e2,,\n"),
        "# from the pump\n\n  # in the cellar\n" + PLAIN,
        "Readings of the pump\n\n" + PLAIN,
        "\n".join("".join(f'"{cell}",' for cell in line.split(","))[:-1] for line in PLAIN.splitlines()) + "\n",
        PLAIN.replace("temp\n", "temp\n,l/min,°C\n"),
        PLAIN.replace("temp\n", "temp\n,l/min,°C\n").encode("latin-1"),
        PLAIN.replace("temp\n", 'temp\n"",[l/min],"[°C]"\n'),
        PLAIN.replace("\n2024", "\n\n2024"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN[:30].encode(), mtime=0) + gzip.compress(PLAIN[30:].encode(), mtime=0),
        PLAIN.replace("2024-01-01 00:00:00", "01.01.2024 00:00").replace("2024-01-01 00:01:00", "01.01.2024 00:01"),
        PLAIN.replace("2024-01-01 00:00:00", "20240101000000").replace("2024-01-01 00:01:00", "20240101000100"),
        PLAIN.replace("-01 ", "-01T").replace(":00,", ":00Z,"),
        PLAIN.replace("2024-01-01 00:00:00", "2024-01-01 01:00+01:00").replace(
            "2024-01-01 00:01:00", "2023-12-31 22:01-02:00"
        ),
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path, text):
    names, values, times, keys = read(text, tmp_path)
    assert (names, values.tolist(), times, keys) == (("flow", "temp"), VALUES, TIMES, [])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1\n2.5\n", [[1], [2.5]]),
        ("v\n1\n\n2.5\n", [[1], [2.5]]),
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1 2\n  3    4\n", [[1, 2], [3, 4]]),
        ("# x y\n1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("a;b\n1.234,5;7\n-2;8,25\n", [[1234.5, 7], [-2, 8.25]]),
        ('a,b\n"1,234.5",2\n"-12,345,678","3"\n', [[1234.5, 2], [-12345678, 3]]),
        ('a,b\n"1,234",2\n"2,345",3\n', [[1234, 2], [2345, 3]]),
        ("a\tb\n1 234,5\t2\n1\u00a0234,75\t3\n", [[1234.5, 2], [1234.75, 3]]),
        ("a;b\n1'234.5;2\n1;3\n", [[1234.5, 2], [1, 3]]),
        ("a,b\n0.1,1e-3\n.5,+4.\n", [[0.1, 1e-3], [0.5, 4]]),
        ("a,b\nTrue,FALSE\nfalse,1\n", [[1, 0], [0, 1]]),
        ("a,b,c\n1,x,2\n3,y,4\n", [[1, 2], [3, 4]]),  # a column of text in between
        ("a,b\n5,1\n5,2\n5,3\n", [[5, 1], [5, 2], [5, 3]]),  # one that never changes
        (",a\n0,1\n1,7\n2,3\n", [[1], [7], [3]]),  # the number of the row
        ("a,empty,b\n1,,2\n3,,4\n", [[1, 2], [3, 4]]),
        ("a,a\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a,b\n12345678901234567890,0.1234567890123456789\n", [[12345678901234567890.0, 0.1234567890123456789]]),
    ],
)
def test_numbers_are_found(tmp_path, text, values):
    assert read(text, tmp_path)[1].tolist() == values


def test_names_come_from_the_header_and_none_comes_twice(tmp_path):
    assert read("a,,a, b  c\n1,2,3,4\n5,6,8,9\n", tmp_path)[0] == ("a", "column 2", "a 2", "b c")
    assert read("1,2\n3,4\n", tmp_path)[0] == ("column 1", "column 2")
    assert read("# x y\n1 2\n3 4\n", tmp_path)[0] == ("x", "y")
    assert read("time,1,2\n2024-01-01,3,4\n2024-01-02,3,4\n", tmp_path)[0] == ("1", "2")


def test_units_are_kept(tmp_path):
    source = opened(CsvConfig(path=written(tmp_path, "time;flow;n\n;l/min;\n2024-01-01;1;2\n2024-01-02;1;2\n")))
    assert source.units == {"flow": "l/min"}


@pytest.mark.parametrize(
    "word",
    [
        "",
        " ",
        "NaN",
        "nan",
        "null",
        "NA",
        "n/a",
        "N/A",
        "none",
        "None",
        "-",
        "--",
        "?",
        "#N/A",
        "#DIV/0!",
        "unavailable",
    ],
)
def test_a_word_for_nothing_is_missing(tmp_path, word):
    _, values, *_ = read(f"a,b\n1,2\n{word},3\n4,{word}\n5,6\n", tmp_path)
    np.testing.assert_array_equal(values, [[1, 2], [np.nan, 3], [4, np.nan], [5, 6]])


def test_two_of_five_cells_are_empty(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(5000, 4)).round(3)
    values[generator.random(values.shape) < 0.4] = np.nan
    text = "a,b,c,d\n" + "".join(",".join("" if x != x else str(x) for x in row) + "\n" for row in values.tolist())
    np.testing.assert_array_equal(read(text, tmp_path)[1], values)


def rows_before(text, message) -> int:
    """How many rows are above the line that a message names."""
    lines = text.split("\n")[1 : int(re.search("line ([0-9]+)", message)[1]) - 1]
    return sum(map(bool, lines)) - lines.count('"3')  # which goes on in the next line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", 'line 3 has 1 of 2 cells: "3"'),
        ("a,b\n1,2\n3,4\n5,6,7\n", 'line 4 has 3 of 2 cells: "5,6,7"'),
        ("a,b\n1,2\n3,4\n5,abc\n6,7\n", 'line 4, column b: "abc" is no number'),
        ("a,b\n1,2\n3,4\n5,1_000\n", 'line 4, column b: "1_000" is no number'),
        ("a,b\n1,2\n3,4\n5,inf\n", 'line 4, column b: "inf" is no number'),
        ("a,b\n1,2\n3,4\n5,1e999\n", 'line 4, column b: "1e999" is no number'),
        ("a;b\n1;2\n3;4\n5;1,234\n", 'line 4, column b: "1,234" is no number'),  # or it is 1.234: nobody knows
        ('a,b\n1,2\n3,4\n"x"y,4\n', "line 4 has quotes that cannot be read"),
        ('a,b\n1,2\n3,4\n"x,4\n', "line 4 has a quote that is not closed"),
        ("time,b\n2024-01-01,2\n2024-01-02,4\n,4\n", "line 4, column time: has no time"),
        ("time,b\n2024-01-01,2\n2024-01-02,4\n2024-13-01,4\n", 'line 4, column time: "2024-13-01" is no time'),
        ('a,b\n1,2\n"3\n",4\n\n5,abc\n6,7\n', 'line 6, column b: "abc" is no number'),
        ("a,b\n1,2\n" + "1,2\n" * 50_000 + "1,?x\n", 'line 50003, column b: "?x" is no number'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    path = written(tmp_path, text)
    source = opened(CsvConfig(path=path))
    count = 0
    while count < rows_before(text, message):
        count += len(source.read(100))
    with pytest.raises(SourceError) as caught:
        source.read(100)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert 'bad_rows = "skip"' in str(caught.value)
    assert count == rows_before(text, message)
    with pytest.raises(SourceError, match="line"):  # and again
        source.read(1)


def test_rows_that_cannot_be_read_may_be_passed_over(tmp_path):
    path = written(tmp_path, 'a,b\n1,2\n3\n"x,4\n5,6\n7,word\n8,9\nlast\n')
    source = opened(CsvConfig(path=path, bad_rows="skip"))
    assert drain(source, (1,))[0].tolist() == [[1, 2], [5, 6], [8, 9]]
    assert source.refused == 4
    assert source.refusal == f'{path}: line 8 has 1 of 2 cells: "last"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no row of numbers"),
        ("a,b\n", "has no row of numbers"),
        ("a,b\nx,y\n", "has no row of numbers"),
        ("one line of words", "has no row of numbers"),
        (b"\x1f\x8b\x08 no gzip at all", "compressed data is damaged"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-4], "is cut short"),
        ("time,a\n01/02/2024,1\n", "time_format"),
        ("1" * 200_000 + ",2\n", "no row"),
        ("1," * 1_000_000, "no row"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, text, message):
    said = problem(text, tmp_path)
    assert said.startswith(f"{tmp_path}/pump.csv: ")
    assert message in said


# Which columns


def test_the_config_names_columns(tmp_path):
    text = "when,flow,temp,pump\n2024-01-01,1,2,7\n2024-01-02,3,4,8\n"
    assert read(text, tmp_path)[0] == ("flow", "temp", "pump")
    names, values, times, keys = read(text, tmp_path, columns=["temp", "flow"], key="pump")
    assert (names, values.tolist(), keys) == (("temp", "flow"), [[2, 1], [4, 3]], ["7", "8"])
    assert times == [nanoseconds(2024, 1, 1), nanoseconds(2024, 1, 2)]
    assert read(text, tmp_path, key="pump")[0] == ("flow", "temp")
    assert read(text, tmp_path, time="")[2] == []
    assert "has no column flwo; it has when, flow, temp, pump" in problem(text, tmp_path, columns=["flwo"])
    assert "has no column x" in problem(text, tmp_path, time="x")
    assert "has no column x" in problem(text, tmp_path, key="x")


def test_a_row_without_a_key_is_none(tmp_path):
    assert "line 3, column k: has no key" in problem("k,a\nx,1\n,2\n", tmp_path, key="k")


@pytest.mark.parametrize(
    ("name", "cells", "times"),
    [
        ("ts", ["1700000000", "1700000001"], [1700000000 * SECOND, 1700000001 * SECOND]),
        ("ts", ["1700000000123", "1700000000124"], [1700000000123 * 10**6, 1700000000124 * 10**6]),
        ("ts", ["1700000000123456"] * 2, [1700000000123456000] * 2),
        ("ts", ["1700000000123456789"] * 2, [1700000000123456789] * 2),
        ("ts", ["1700000000.123456789"] * 2, [1700000000123456789] * 2),
        ("ts", ["1.7e9", "1700000000.5"], [1700000000 * SECOND, 1700000000 * SECOND + SECOND // 2]),
        ("elapsed (ms)", ["0", "0.5"], [0, 500_000]),
        ("time", ["0.0", "0.1"], [0, SECOND // 10]),
        ("time", ["2024-01-02T03:04:05.123456789Z"] * 2, [nanoseconds(2024, 1, 2, 3, 4, 5) + 123456789] * 2),
        ("time", ["2024-01-02T03:04:05\u00a0"] * 2, [nanoseconds(2024, 1, 2, 3, 4, 5)] * 2),
        (
            "time",
            ["2024-01-02 03:04:05.5", "2024-01-02 03:04:05.25"],
            [nanoseconds(2024, 1, 2, 3, 4, 5) + SECOND // 2, nanoseconds(2024, 1, 2, 3, 4, 5) + SECOND // 4],
        ),
        ("Datum", ["31.12.2023", "1.1.2024"], [nanoseconds(2023, 12, 31), nanoseconds(2024, 1, 1)]),
        (
            "date",
            ["12/31/2023 11:59 PM", "01/01/2024 12:00 AM"],
            [nanoseconds(2023, 12, 31, 23, 59), nanoseconds(2024, 1, 1)],
        ),
        ("createdAt", ["20240102", "20240103"], [nanoseconds(2024, 1, 2), nanoseconds(2024, 1, 3)]),
    ],
)
def test_times_are_found(tmp_path, name, cells, times):
    text = f"{name},a\n" + "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    names, _, found, _ = read(text, tmp_path)
    assert (names, found) == (("a",), times)


def test_the_day_and_the_month_are_told_apart_where_they_can_be(tmp_path):
    days = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(9)]
    for format in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y %H:%M"):
        text = "time,a\n" + "".join(f"{day:{format}},1\n" for day in days)
        assert read(text, tmp_path)[2] == [round(day.replace(tzinfo=UTC).timestamp()) * SECOND for day in days]
    assert "may be as %d/%m/%Y or as %m/%d/%Y" in problem("time,a\n01/02/2024,1\n", tmp_path)
    found = read("time,a\n01/02/2024,1\n", tmp_path, time_format="%m/%d/%Y")
    assert found[2] == [nanoseconds(2024, 1, 2)]


def test_times_come_as_they_are_also_twice_and_backwards(tmp_path):
    text = "time,a\n2024-01-02,1\n2024-01-02,2\n2024-01-01,3\n2024-01-03,4\n"
    days = [2, 2, 1, 3]
    assert read(text, tmp_path)[2] == [nanoseconds(2024, 1, day) for day in days]


BERLIN = ZoneInfo("Europe/Berlin")


def test_the_hour_that_comes_twice_comes_once_after_the_other(tmp_path):
    start = nanoseconds(2024, 10, 26, 22)
    times = [start + minutes * 60 * SECOND for minutes in range(0, 8 * 60, 10)]
    clocks = [datetime.fromtimestamp(time // SECOND, BERLIN) for time in times]
    text = "time,a\n" + "".join(f"{clock:%Y-%m-%d %H:%M:%S},1\n" for clock in clocks)
    path = written(tmp_path, text)
    config = CsvConfig(path=path, zone="Europe/Berlin")
    assert drain(opened(config), (3,))[1] == times
    for row in range(len(times)):  # from any row on
        source = opened(config)
        source.peek(row)
        source.take(row)
        resumed = opened(config)
        resumed.go_to(msgspec.json.decode(msgspec.json.encode(source.position)))
        assert drain(resumed)[1] == times[row:]


def test_the_hour_that_is_left_out(tmp_path):
    text = "time,a\n2024-03-31 01:59,1\n2024-03-31 03:00,1\n2024-06-01 00:00,1\n"
    times = read(text, tmp_path, zone="Europe/Berlin")[2]
    assert times == [nanoseconds(2024, 3, 31, 0, 59), nanoseconds(2024, 3, 31, 1), nanoseconds(2024, 5, 31, 22)]


FORMATS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S", "%m/%d/%y %H:%M:%S.%f"]


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1)), min_size=1, max_size=20),
    st.sampled_from(FORMATS),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_all_times_at_once_are_those_one_by_one(moments, format, zone):
    from streamrnn.sources.tables import columns
    from streamrnn.sources.times import TimeFormat

    times = TimeFormat("iso" if format.startswith("%Y-") else format, zone)
    cells, after, one_by_one = [moment.strftime(format) for moment in moments], NO_TIME, []
    for moment, cell in zip(moments, cells, strict=True):
        one_by_one.append(after := times.read(cell, after))
        moment = moment if "%f" in format else moment.replace(microsecond=0)
        expected = {moment.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1)}
        seconds = {round(each.timestamp() * 10**6) * 1000 for each in expected}
        assert one_by_one[-1] in seconds
    assert columns.times(cells, times, NO_TIME).tolist() == one_by_one


# What the table holds


cells = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**20), 10**20),
    st.none(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6),
)
texts = st.text(string.printable + "äß€日", max_size=12)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_whatever_is_written_is_read_back(tmp_path_factory, data):
    """Any numbers with a column of any text, in any way in which Python writes tables."""
    numbers = data.draw(st.integers(1, 4))
    delimiter = data.draw(st.sampled_from(",;\t|"))
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    rows = data.draw(st.lists(st.tuples(texts, *[cells] * numbers), min_size=1, max_size=30))
    names = ["note", *(f"n{number}" for number in range(numbers))]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writerow(names)
    writer.writerows(rows)
    text = buffer.getvalue()
    config = CsvConfig(
        path=written(tmp_path_factory.mktemp("any"), text.encode(encoding)),
        columns=names[1:],
        time="",
        delimiter=delimiter,
        decimal=".",
    )
    assume(any(cell is not None for cell in rows[0][1:]))  # else it may be a row of units
    found = drain(opened(config), data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))[0]
    expected = [[math.nan if cell is None else float(cell) for cell in row[1:]] for row in rows]
    np.testing.assert_array_equal(found, np.array(expected))
