"""The gate's log: what was written is there again, whoever died and whenever the power went."""

import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.workers.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.member import Failure

WAIT = 10.0  # seconds


def records(journal, after=0):
    return list(journal.after(after))


def fill(journal):
    for _ in range(10_000):
        journal.append(bytes(5000))


def wait_until_durable(journal, number):
    until = time.monotonic() + WAIT
    while journal.durable < number:
        journal.hurry()
        assert time.monotonic() < until
        select.select([journal.woken], [], [], WAIT)
        journal.heard()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


def opened(path, run="a", first=1):
    return Journal(path, run, first)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.none() | st.dictionaries(st.text(), st.integers(-9, 9)))))
def test_what_was_written_is_there_again_in_order(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = opened(path)
    numbers = [journal.append(data, note) for data, note in written]
    assert numbers == list(range(1, len(written) + 1))
    journal.close()
    journal = opened(path)
    assert records(journal) == [(k, data, note) for k, (data, note) in enumerate(written, 1)]
    assert journal.last == len(written)
    journal.close()


def test_records_of_another_run_are_removed_and_numbers_go_on(path):
    journal = opened(path)
    journal.append(b"x")
    journal.close()
    journal = opened(path, "b", 41)
    assert records(journal) == []
    assert journal.append(b"y") == 41
    journal.close()


def test_numbers_go_on_behind_a_checkpoint_that_holds_all_records(path):
    journal = opened(path)
    for _ in range(5):
        journal.append(b"x")
    journal.cut(5)
    journal.close()
    journal = opened(path, first=6)
    assert journal.append(b"y") == 6
    assert records(journal, 5) == [(6, b"y", None)]
    journal.close()


def test_records_that_end_before_the_checkpoint_are_not_joined_with_what_comes_later(path):
    journal = opened(path)
    for _ in range(5):
        journal.append(b"x")
    journal.close()
    journal = opened(path, first=9)  # the records 6 to 8 were lost, the checkpoint that holds them was not
    assert (records(journal), journal.begins) == ([], 9)
    assert journal.append(b"y") == 9
    journal.close()
    journal = opened(path, first=3)  # that checkpoint is damaged: the one before it cannot be gone on from
    assert journal.begins == 9
    journal.close()


def test_it_knows_what_has_been_cut(path):
    journal = opened(path)
    assert journal.begins == 1
    for _ in range(5):
        journal.append(b"x")
    journal.cut(3)
    journal.cut(2)
    assert [number for number, _, _ in records(journal)] == [4, 5]
    assert journal.begins == 4
    journal.close()
    journal = opened(path)
    assert journal.begins == 4
    journal.close()
    journal = opened(path, "b", 7)
    assert journal.begins == 7
    journal.close()


def test_what_has_been_written_becomes_durable(path):
    journal = opened(path)
    for _ in range(3):
        wait_until_durable(journal, journal.append(b"x"))
    journal.close()


def test_a_disk_that_is_full_raises_and_what_was_written_stays(path):
    journal = opened(path)
    journal.append(b"x")
    journal._connection.execute("PRAGMA max_page_count = 5")  # as if there were no more on the disk
    with pytest.raises(JournalFull, match="full"):
        fill(journal)
    count = len(records(journal))
    journal._connection.execute("PRAGMA max_page_count = 1000")
    assert journal.append(b"y") == count + 1
    journal.cut(count)
    assert records(journal) == [(count + 1, b"y", None)]
    journal.close()


def test_its_size_follows_the_records(path):
    journal = opened(path)
    for _ in range(100):
        journal.append(bytes(5000))
    assert 500_000 < journal.size() < 1_000_000
    journal.cut(100)
    assert journal.size() < 50_000
    journal.close()


def test_only_one_process_writes(path):
    journal = opened(path)
    code = (
        "import sys, pathlib, sqlite3\n"
        "from streamrnn.workers import journal\n"
        "journal.WAIT = 0.2\n"
        "try:\n    journal.Journal(pathlib.Path(sys.argv[1]), 'a', 1)\n"
        "except sqlite3.OperationalError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, encoding="utf-8", timeout=60)
    assert "locked" in done.stdout
    journal.close()


def test_a_power_cut_takes_whole_records_from_the_end_and_none_from_the_middle(path, tmp_path):
    journal = opened(path)
    for k in range(40):
        journal.append(bytes([k]) * 900)
    wal = Path(f"{path}-wal").read_bytes()
    cut = tmp_path / "cut"
    counts = []
    for size in range(len(wal), 0, -1711):  # the end of the WAL never reached the disk
        shutil.copy(path, cut)
        Path(f"{cut}-wal").write_bytes(wal[:size])
        Path(f"{cut}-shm").unlink(missing_ok=True)
        after = opened(cut)
        found = records(after)
        assert found == [(k + 1, bytes([k]) * 900, None) for k in range(len(found))]
        counts.append(len(found))
        after.close()
    assert counts[0] == 40
    assert counts[-1] < 5
    journal.close()


def test_without_a_journal_none_is_left_that_would_be_taken_for_what_came_since(path):
    journal = opened(path)
    for _ in range(5):
        journal.append(b"x")
    journal.close()
    with pytest.raises(Failure, match="frames that no checkpoint holds"):
        NoJournal(path, "a", 5)
    assert path.exists()
    nothing = NoJournal(path, "a", 6)
    assert not list(path.parent.iterdir())
    assert [nothing.append(b"y") for _ in range(3)] == [6, 7, 8]
    assert (nothing.last, nothing.durable, records(nothing)) == (8, 8, [])
    nothing.close()
    opened(path).close()
    NoJournal(path, "b", 1).close()
    assert not path.exists()
