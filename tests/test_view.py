"""The live view: figures that fit, a curve that tells the truth, nothing that a terminal or a log would choke on."""

import io
import math
import unicodedata
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from streamrnn.cli.live_channels import together
from streamrnn.cli.pipeline_line import pipeline_lines
from streamrnn.cli.sparkline import LEVELS, resample, sparkline
from streamrnn.cli.view import LiveView, banner, log_line, panel, summary
from streamrnn.web.busy import Busy
from streamrnn.workers.supervision.wording import duration, printable, short

LOSSES = st.lists(st.floats(width=32), max_size=60)
FINITE = st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=60)
STATUS = {
    "state": "learning",
    "frames": 123_456,
    "seconds": 75.0,
    "frames_per_second": 2345.6,
    "scored": 123_455,
    "loss": 2 * math.log(2),
    "recent_loss": 1.5 * math.log(2),
    "curve": [5.0, 3.0, 2.0],
    "refused": 0,
    "streams": 1,
}
SHA256, CHECKPOINT = "0123456789abcdef" * 4, "/a/very/long/folder" * 6
RESULT = {
    "frames": 400_000,
    "new_frames": 400_000,
    "seconds": 30.0,
    "frames_per_second": 13_333.3,
    "loss": 1.5,
    "bits_per_symbol": 1.5 / math.log(2),
    "parameters_sha256": SHA256,
    "checkpoint": CHECKPOINT,
}


def height(rows: list[str], column: int) -> int:
    """The height of a bar in eighths of a row."""
    return sum(LEVELS.find(row[column]) + 1 for row in rows)


@given(LOSSES, st.integers(1, 5))
def test_each_value_has_a_bar_and_what_is_no_number_has_a_gap(values, rows):
    lines = sparkline(values, rows)
    assert len(lines) == rows
    assert {len(line) for line in lines} == {len(values)}
    assert set("".join(lines)) <= set(LEVELS + " ")
    for column, value in enumerate(values):
        assert (height(lines, column) > 0) == math.isfinite(value)


@given(FINITE, st.integers(1, 5))
def test_bars_are_ordered_like_their_values(values, rows):
    heights = [height(sparkline(values, rows), column) for column in range(len(values))]
    assert heights[values.index(min(values))] == 1
    assert max(heights) == (len(LEVELS) * rows if max(values) > min(values) else 1)
    pairs = sorted(zip(values, heights, strict=True))
    assert [bar for _, bar in pairs] == sorted(heights)


def test_a_sparkline_looks_like_one():
    assert sparkline(range(8)) == ["▁▂▃▄▅▆▇█"]
    assert sparkline([0, 15, math.nan, 7], rows=2) == [" █  ", "▁█ █"]


@given(FINITE, st.integers(1, 80))
def test_resampling_keeps_the_mean_and_the_bounds(values, width):
    means = resample(values, width)
    assert len(means) == min(width, len(values))
    slack = 1e-9 * max(map(abs, values)) + len(values) * 5e-324  # the smallest number has no half
    assert min(values) - slack <= min(means) <= max(means) <= max(values) + slack
    if len(values) % len(means) == 0:  # equal parts
        assert sum(means) / len(means) == pytest.approx(sum(values) / len(values), abs=slack)


@given(st.integers(1, 200), st.integers(1, 80), st.data())
def test_every_value_counts_in_one_mean(count, width, data):
    values = [0.0] * count
    values[data.draw(st.integers(0, count - 1))] = 1.0
    assert sum(mean > 0 for mean in resample(values, width)) == 1


def test_resampling_leaves_out_what_is_no_number():
    assert resample([1.0, math.nan, 3.0, 5.0], 2) == [1.0, 4.0]
    assert math.isnan(resample([math.nan, math.inf, 1.0, 1.0], 2)[0])


@given(st.text())
def test_text_of_the_network_cannot_steer_the_terminal(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(letter == " " or unicodedata.category(letter)[0] not in "CZ" for letter in shown)


def test_printable_text_stays_as_it_is():
    assert printable("naïve [bold]\n\x1b[31m\tend") == "naïve [bold]↵·[31m·end"


def screen(status, samples=(), width=80, unit="bits/symbol") -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(panel(status, unit, list(samples), width))
    return console.export_text().splitlines()


def test_the_panel_tells_the_figures_in_bits():
    text = "\n".join(screen(STATUS, [(1000, "the quick"), (120_000, "brown\nfox")]))
    for part in ("learning", "123,456", "2,346/s", "01:15", "2.000", "1.500", "1 stream", "7.213", "2.885"):
        assert part in text
    assert "1.0k" in text
    assert "brown↵fox" in text
    assert "refused" not in text
    assert "7 refused" in "\n".join(screen(STATUS | {"refused": 7}))
    assert "nats/frame" in "\n".join(screen(STATUS, unit="nats/frame"))


CHANNELS = {
    "stream": "pump [1]",
    "seq": 123_455,
    "name": ["flow", "return\x1b[2J"],
    "value": [1.25, None],
    "forecast": [1.5, 20_000.0],
    "lower": [1.0, -3.0],
    "upper": [2.0, 4.0],
    "recent": [[0.0, 15.0, None, 7.0], []],
    "score": 1.875,
    "threshold": 2.4,
}
ALARMS = [
    {
        "stream": "pump [1]",
        "seq": 100,
        "state": "begins",
        "words": "flow: high " + "and higher " * 30,
        "frames_ago": 9_999,
    },
    {"stream": "other", "seq": 110, "state": "ends", "words": "the event is over", "frames_ago": 1},
]


def test_the_panel_of_a_forecast_has_a_table_of_its_channels_and_the_newest_alarms():
    lines = screen(STATUS | {"channels": CHANNELS, "alarms": ALARMS})
    table = [line.strip("│ ").split() for line in lines if "│" in line]
    head = next(k for k, row in enumerate(table) if row[:1] == ["stream"])
    assert table[head] == ["stream", "pump", "[1]", "value", "forecast", "lower", "upper", "lately"]
    assert table[head + 1] == ["flow", "1.25", "1.5", "1", "2", "▁█", "▄"]
    assert table[head + 2] == ["return·[2J", "–", "2e+04", "-3", "4"]
    assert table[head + 3] == ["score", "1.875", "of", "2.4"]
    text = "\n".join(line.strip("│ ") for line in lines)
    assert "\npump [1], 9,999 frames ago: flow: high and higher" in text
    assert "\nother, 1 frame ago: the event is over\n" in text
    assert text.count("and higher …") == 1  # cut
    assert "7.213" not in text  # the curve of the loss


def test_of_many_channels_as_many_are_shown_as_fit():
    channels = {name: each * 16 if isinstance(each, list) else each for name, each in CHANNELS.items()}
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(panel(STATUS | {"channels": channels, "alarms": ALARMS}, "nats/frame", [], 80, 24))
    lines = console.export_text().splitlines()
    assert len(lines) == 23
    shown = sum(line.startswith(("│ flow", "│ return")) for line in lines)
    assert sum(f"and {32 - shown} more" in line for line in lines) == 1
    assert len(screen(STATUS | {"channels": channels}, width=40)) <= 23
    console.print(panel(STATUS | {"channels": CHANNELS | {"count": 40}}, "nats/frame", [], 80, 24))
    assert "and 38 more" in console.export_text()


WORKER = {"name": "a", "does": "gate", "pid": 7, "heard": 0.1, "memory": 1, "device": "cpu", "busy": 3.0, "share": 0.5}


def lines_of(workers, width=76) -> list[str]:
    return [line.plain for line in pipeline_lines(workers, width)]


def test_the_pipeline_says_how_busy_each_worker_is_and_where_and_which_are_silent():
    changes = {"does": "lstm 8", "share": 0.0, "device": "cuda:0"}, {"heard": 7.4}, {"heard": None}, {"memory": 0}
    workers = [WORKER | change for change in ({}, *changes, {"share": None}, {"share": 1.0, "name": "gate"})]
    assert " ".join(lines_of(workers, 200)[0].split()) == (
        "busy gate ▅ 50 % ─ lstm 8 on cuda:0 ▁ 0 % ─ gate silent 7 s ─ gate starting ─ gate starting ─ gate –"
        " ─ gate █ 100 % or full"
    )
    assert "busy  gate ▅ 50 %" in "\n".join(screen(STATUS | {"workers": workers}))
    assert lines_of([]) == []


@given(st.lists(st.text(max_size=50), min_size=1, max_size=12), st.integers(36, 120))
def test_the_pipeline_fits_and_every_worker_is_shown_or_counted(names, width):
    lines = lines_of([WORKER | {"does": name} for name in names], width)
    assert len(lines) <= 3
    assert max(map(cell_len, lines)) <= width
    shown = sum(line.count(" ▅ 50 %") for line in lines)
    more = int(lines[-1].split()[-3]) if shown < len(names) else 0
    assert shown + more == len(names)


def test_the_share_of_time_is_that_of_the_last_seconds_and_a_new_process_begins_anew():
    busy = Busy()
    looks = [(0.0, 5.0, 1), (1.0, 5.5, 1), (2.0, 6.5, 1), (4.0, 6.5, 1), (4.5, 0.1, 2), (5.0, 9.0, 2)]
    shares = [busy.look([WORKER | {"busy": spent, "pid": pid}], now)[0] for now, spent, pid in looks]
    assert shares == [None, 0.5, 0.75, 0.0, None, 1.0]


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (40, ["value", "lately"]),
        (64, ["value", "forecast", "lately"]),
        (80, ["value", "forecast", "lower", "upper", "lately"]),
        (120, ["value", "forecast", "lower", "upper", "lately", "surprise"]),
    ],
)
def test_where_there_is_little_room_the_newest_values_stay(width, wanted):
    rising = [float(x) for x in range(60)]
    numbers = {key: [-123.4] for key in ("value", "forecast", "lower", "upper")}
    channels = {"stream": "main", "name": ["return temperature"], "recent": [rising], "surprise": [rising], **numbers}
    lines = screen(STATUS | {"channels": channels}, width=width)
    head = next(k for k, line in enumerate(lines) if "stream main" in line)
    assert lines[head].strip("│ ").split()[2:] == wanted
    assert lines[head + 1].rstrip("│ ").endswith("█")
    assert {cell_len(line) for line in lines} == {width}


def test_the_numbers_of_a_status_are_newer_than_those_looked_at():
    told = {"stream": "a", "seq": 9, "value": [2.0], "recent": [[2.0]]}
    looked = {"stream": "a", "seq": 5, "value": [1.0], "recent": [[0.0, 1.0]], "name": ["flow"]}
    assert together(told, deque([looked])) == looked | {"seq": 9, "value": [2.0]}
    assert together(told | {"stream": None}, deque([looked])) == together(None, deque([looked])) == looked
    assert together(told, deque()) == told


def test_a_loss_that_is_not_there_yet_is_a_dash_and_one_that_diverged_says_so():
    none, diverged = STATUS | {"scored": 0, "loss": math.nan}, STATUS | {"loss": math.nan}
    assert "nan" not in "\n".join(screen(none)) + log_line(none, "bits/symbol")
    assert "– bits/symbol" in log_line(none, "bits/symbol")
    assert "nan bits/symbol" in log_line(diverged, "bits/symbol")
    assert "nan" in "\n".join(screen(diverged))


NUMBERS = st.floats() | st.none()


def channels(count, name, value):
    """Of a status: all alike."""
    columns = dict.fromkeys(("value", "forecast", "lower", "upper"), [value] * count)
    return {"stream": name, "name": [name] * count, "recent": [[value, 1.0, value]] * count, **columns}


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict(
            state=st.sampled_from(["learning", "draining", "recovering from a lost worker"]),
            frames=st.integers(0, 10**15),
            seconds=st.floats(0, 1e9),
            frames_per_second=st.floats(0, 1e9),
            scored=st.integers(0, 10**15),
            loss=st.floats() | st.none(),
            recent_loss=st.floats() | st.none(),
            curve=st.lists(st.floats(), max_size=20).map(lambda values: values * 20),
            refused=st.integers(0, 10**12),
            streams=st.integers(0, 10**6),
            channels=st.builds(channels, st.integers(1, 40), st.text(), NUMBERS),
            alarms=st.lists(
                st.fixed_dictionaries(dict(stream=st.text(), words=st.text(), frames_ago=st.integers(0, 10**12))),
                max_size=3,
            ),
        ),
    ),
    st.lists(st.tuples(st.integers(0, 10**9), st.text()), max_size=4),
    st.integers(40, 200),
)
def test_the_panel_keeps_its_shape_whatever_comes(status, samples, width):
    lines = screen(status, samples, width)
    assert {cell_len(line) for line in lines} == {width}
    written = 5 if samples else 0
    assert len(lines) <= 23 + written if status.keys() & {"channels", "alarms"} else len(lines) == 9 + written
    line = log_line(status, "bits/symbol")
    assert line == printable(line)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_has_plain_lines_every_few_seconds():
    clock, file = Clock(), io.StringIO()
    view = LiveView(Console(file=file, width=80), "bits/symbol", clock)
    lines_at = []
    for tick in range(120):
        clock.now = tick / 10
        before = file.getvalue().count("\n")
        view.update(STATUS | {"seconds": clock.now, "state": "learning" if tick < 80 else "draining"})
        lines_at += [tick] * (file.getvalue().count("\n") - before)
    assert lines_at == [10, 60, 80]  # after a second, five later, and when the state changes
    view.sample("to \x1b[2J be\n")
    view.close()
    text = file.getvalue()
    assert "2.000 bits/symbol" in text
    assert text.splitlines()[-1].endswith("to ·[2J be↵")
    assert all(letter == "\n" or unicodedata.category(letter) != "Cc" for letter in text)


def test_a_terminal_has_a_panel_that_stays_when_it_is_closed():
    file = io.StringIO()
    console = Console(file=file, width=80, height=30, force_terminal=True, color_system=None, legacy_windows=False)
    view = LiveView(console, "bits/symbol")
    for frames in (1000, 2000):
        view.update(STATUS | {"frames": frames})
        view.sample(f"after {frames}")
    view.close()
    view.close()
    text = file.getvalue()
    assert "\x1b[?25l" in text  # the cursor is hidden
    assert text.rindex("\x1b[?25h") > text.rindex("after 2000")  # and comes back
    last = text[text.rindex("╭") :]
    assert "2,000" in last
    assert "after 1000" in last


def test_a_dumb_terminal_has_a_log(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    clock, file = Clock(), io.StringIO()
    view = LiveView(Console(file=file, width=80, force_terminal=True), "bits/symbol", clock)
    clock.now = 2.0
    view.update(STATUS)
    view.close()
    assert "╭" not in file.getvalue()
    assert "123,456 frames" in file.getvalue()


def test_the_banner_names_everything_on_a_line_of_its_own_and_ends_ready():
    file = io.StringIO()
    sockets = {"gate": "ipc:///" + "long/" * 30, "outputs": "tcp://127.0.0.1:5702", "control": "tcp://127.0.0.1:5703"}
    facts = dict(
        name="text", network="256 tokens → LSTM 8", workers=[("layer 1", 41), ("readout", 42)], sockets=sockets
    )
    banner(Console(file=file, width=80), facts | dict(checkpoints="/state/text", state="new"))
    lines = file.getvalue().splitlines()
    assert lines[-1] == "READY"
    for part in ("256 tokens → LSTM 8", "layer 1  pid 41", "readout  pid 42", "/state/text", *sockets.values()):
        assert sum(part in line for line in lines) == 1


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        ({}, "2.164 bits/symbol"),
        ({"bits_per_symbol": None}, "1.500 nats/frame"),
        ({"bits_per_symbol": math.nan}, "nan bits/symbol"),
    ],
)
def test_the_summary_says_what_it_came_to(change, loss):
    file = io.StringIO()
    summary(Console(file=file, width=80), RESULT | change)
    text = file.getvalue()
    for part in ("400,000  in 30.0 s, 13,333 a second", loss, SHA256, CHECKPOINT):
        assert part in text
    summary(Console(file=file, width=80), RESULT | {"frames": 1_400_000})
    assert "1,400,000  in the run, 400,000 of them in 30.0 s, 13,333 a second" in file.getvalue()
    summary(Console(file=file, width=80), RESULT | {"checkpoint": None})
    assert file.getvalue().rstrip().endswith("none")


def test_numbers_are_short():
    assert [duration(seconds) for seconds in (0, 59.9, 61, 3600, 90_061)] == [
        "0.0 s",
        "59.9 s",
        "01:01",
        "1:00:00",
        "25:01:01",
    ]
    assert [short(count) for count in (0, 950, 12_345, 4_500_000, 7 * 10**9)] == ["0", "950", "12.3k", "4.5M", "7.0G"]
