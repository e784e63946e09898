"""Rows out of order: sorted in as far as the window reaches, said, or dropped; from any position on the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.sources import SourceError
from streamrnn.sources.csv import CsvConfig

MINUTE = 60 * 10**9


def write(path, minutes):
    """A row for each minute after midnight, whose value is its place among the rows."""
    rows = (f"2024-05-01 {m // 60:02d}:{m % 60:02d},{k}" for k, m in enumerate(minutes))
    path.write_text("when,x\n" + "\n".join(rows) + "\n")


def everything(source, sizes=(7,)):
    """All that is left: (minute, value) of each row; and the positions before each take."""
    rows, positions, turn = [], [], 0
    while not source.ended:
        frames = source.peek(sizes[turn % len(sizes)])
        again = source.peek(len(frames))
        assert again.values.tobytes() == frames.values.tobytes()
        positions.append((source.position, len(rows)))
        rows += [(int(t) // MINUTE % 1440, int(v)) for t, v in zip(frames.times, frames.values[:, 0], strict=True)]
        source.take(len(frames))
        turn += 1
    return rows, positions


def by_hand(minutes, window):
    """Of the next window + 1 rows that have not come, always the earliest, and of equal ones the first."""
    left, came = [(m, k) for k, m in enumerate(minutes)], []
    held = []
    while left or held:
        while left and len(held) <= window:
            held.append(left.pop(0))
        held.sort()
        came.append(held.pop(0))
    return came


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("sorting") / "table.csv"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 1439), min_size=1, max_size=60),
    st.integers(1, 9),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_rows_come_in_order_as_far_as_the_window_reaches_and_from_any_position_on(path, minutes, window, sizes):
    write(path, minutes)
    table = CsvConfig(path=str(path), columns=["x"], time="when", order="sort", window=window)
    source = table.open()
    rows, positions = everything(source, sizes)
    source.close()
    assert rows == by_hand(minutes, window)
    for position, done in positions[:: max(1, len(positions) // 4)]:
        source = table.open()
        source.go_to(position)
        assert everything(source, sizes)[0] == rows[done:]
        source.close()


def test_rows_that_are_late_by_no_more_than_the_window_are_all_in_order(path):
    rng, minutes = np.random.default_rng(0), np.arange(1000)
    shuffled = np.argsort(minutes + rng.uniform(0, 20, 1000), kind="stable").tolist()
    write(path, shuffled)
    rows, _ = everything(CsvConfig(path=str(path), columns=["x"], time="when", order="sort", window=25).open())
    assert [minute for minute, _ in rows] == minutes.tolist()


def count_all(source, taken):
    """Read to the end, and note how many rows came at a time."""
    while not source.ended:
        taken.append(len(source.read(100)))


@pytest.mark.parametrize("place", [1, 2, 50, 1500])
def test_where_rows_must_be_in_order_the_first_that_is_not_is_named(path, place):
    minutes = [k // 2 for k in range(2000)]
    minutes[place] = 0
    minutes[place - 1] = max(minutes[place - 1], 1)
    write(path, minutes)
    source = CsvConfig(path=str(path), columns=["x"], time="when", order="stop").open()
    taken: list[int] = []
    with pytest.raises(SourceError, match="it is before the row before") as caught:
        count_all(source, taken)
    assert str(caught.value).startswith(f"{path}: line {place + 2}, column when")
    assert sum(taken) == place
    position = source.position
    again = CsvConfig(path=str(path), columns=["x"], time="when", order="stop").open()
    again.go_to(position)
    with pytest.raises(SourceError, match=f"line {place + 2}, column when"):
        again.read(100)
