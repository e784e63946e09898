"""The gate's log: what was written is there again, whoever died and whatever is damaged."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.workers.admission import journal as journal_module
from streamrnn.workers.admission.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.worker import Failure

WAIT = 10.0  # seconds
NOISE = np.random.default_rng(0)


def records(journal, after=0):
    return list(journal.after(after))


def noise(size):
    """Bytes that cannot be compressed."""
    return NOISE.bytes(size)


def wait_until_durable(journal, number):
    until = time.monotonic() + WAIT
    while journal.durable < number:
        assert time.monotonic() < until
        select.select([journal.woken], [], [], WAIT)
        journal.heard()


def segments(path):
    return sorted(path.glob("*.segment"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def opened(path):
    """Opens the journal there; what a test leaves open is closed."""
    made = []

    def open_journal(run="a", first=1, at=path):
        made.append(Journal(at, run, first))
        return made[-1]

    yield open_journal
    for journal in made:
        if not journal._closing:
            journal.close()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=300) | st.sampled_from(["turn", "close", "flush"]), max_size=40),
    st.integers(200, 5000),
    st.integers(0, 50),
)
def test_what_was_written_is_there_again_in_order(tmp_path_factory, calls, largest, after):
    path, written = tmp_path_factory.mktemp("journal") / "journal", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "LARGEST", largest)
        journal = Journal(path, "a", 1)
        for call in [*calls, "close"]:
            if call == "close":
                journal.close()
                journal = Journal(path, "a", 1)
            elif isinstance(call, str):
                getattr(journal, call)()
            else:
                written.append(call)
                assert journal.append(call) == len(written)
            assert records(journal, after) == list(enumerate(written, 1))[after:]
            assert (journal.last, journal.begins) == (len(written), 1)
        journal.close()


def test_records_of_another_run_are_removed_and_numbers_go_on(path, opened):
    journal = opened()
    journal.append(b"x")
    journal.close()
    journal = opened("b", 41)
    assert records(journal) == []
    assert journal.append(b"y") == 41
    assert len(segments(path)) == 1


def test_numbers_go_on_behind_a_checkpoint_that_holds_all_records(opened):
    journal = opened()
    for _ in range(5):
        journal.append(b"x")
    journal.cut(5)
    journal.close()
    journal = opened(first=6)
    assert journal.append(b"y") == 6
    assert records(journal, 5) == [(6, b"y")]


def test_records_that_end_before_the_checkpoint_are_not_joined_with_what_comes_later(opened):
    journal = opened()
    for _ in range(5):
        journal.append(b"x")
    journal.close()
    journal = opened(first=9)  # the records 6 to 8 were lost, the checkpoint that holds them was not
    assert (records(journal), journal.begins) == ([], 9)
    assert journal.append(b"y") == 9
    journal.close()
    journal = opened(first=3)  # that checkpoint is damaged: the one before it cannot be gone on from
    assert journal.begins == 9


def test_whole_segments_are_cut_and_it_knows_where_it_begins(path, opened):
    journal = opened()
    assert journal.begins == 1
    for k in range(1, 10):
        journal.append(noise(5000))
        if k % 3 == 0:
            journal.turn()
            journal.turn()  # an empty one is not begun twice
    assert len(segments(path)) == 4
    journal.cut(2)
    assert (journal.begins, len(segments(path))) == (1, 4)
    assert 45_000 < journal.size() < 46_000
    journal.cut(5)
    assert journal.begins == 4
    assert [number for number, _ in records(journal)] == [4, 5, 6, 7, 8, 9]
    assert 30_000 < journal.size() < 31_000
    journal.close()
    journal = opened()
    assert journal.begins == 4
    journal.append(b"z")
    journal.cut(10)
    assert (journal.begins, records(journal), len(segments(path))) == (11, [], 1)
    assert journal.size() < 100
    journal.close()
    journal = opened()
    assert (journal.begins, journal.last) == (11, 10)
    journal.close()
    assert opened("b", 7).begins == 7


def test_a_segment_is_only_so_large(path, opened, monkeypatch):
    monkeypatch.setattr(journal_module, "LARGEST", 20_000)
    journal = opened()
    for _ in range(100):
        journal.append(noise(1000))
    assert max(file.stat().st_size for file in segments(path)) < 21_100
    assert len(records(journal)) == 100
    assert journal.size() == sum(file.stat().st_size for file in segments(path))


def test_records_can_be_read_while_others_are_written(opened):
    journal = opened()
    for k in range(5):
        journal.append(b"%d" % k)
    reading = journal.after(2)
    assert next(reading) == (3, b"2")
    journal.append(b"new")
    assert list(reading) == [(4, b"3"), (5, b"4")]
    assert records(journal, 5) == [(6, b"new")]


def test_what_has_been_written_becomes_durable_by_itself(opened):
    journal = opened()
    wait_until_durable(journal, journal.append(b"x"))


def test_who_waits_has_it_flushed_at_once_and_much_is_too(opened, monkeypatch):
    monkeypatch.setattr(journal_module, "LAZY", 1e6)
    journal = opened()
    number = journal.append(b"x", soon=False)
    journal.hurry()
    wait_until_durable(journal, number)
    for _ in range(33):
        number = journal.append(noise(1000), soon=False)
    wait_until_durable(journal, number - 1)


def test_a_disk_that_does_not_take_it_is_told_of(opened, monkeypatch):
    journal = opened()

    def fails(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fails)
        journal.append(b"x")
        journal.hurry()
        select.select([journal.woken], [], [], WAIT)
        with pytest.raises(OSError, match="Input/output"):
            journal.heard()
        with pytest.raises(OSError, match="Input/output"):
            journal.append(b"y")
    assert journal.durable == 0


@pytest.mark.parametrize("written", [0, 1, 9, 50])
def test_a_disk_that_is_full_raises_and_what_was_written_stays(opened, monkeypatch, written):
    """Of the record that does not fit, a part has been written."""
    journal, write = opened(), os.write
    journal.append(b"x" * 50)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:written]))
        for _ in range(2):
            with pytest.raises(JournalFull, match="full"):
                journal.append(noise(100))
    assert records(journal) == [(1, b"x" * 50)]
    assert journal.append(b"y" * 50) == 2
    journal.close()
    assert records(opened()) == [(1, b"x" * 50), (2, b"y" * 50)]


def test_only_one_process_writes(path, opened):
    opened()
    code = (
        "import sys, pathlib\n"
        "from streamrnn.workers.admission import journal\n"
        "journal.WAIT = 0.2\n"
        "try:\n    journal.Journal(pathlib.Path(sys.argv[1]), 'a', 1)\n"
        "except journal.Failure as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, encoding="utf-8", timeout=60)
    assert "is in use by another process" in done.stdout


def test_what_an_earlier_version_wrote_is_not_touched(path):
    path.write_bytes(b"SQLite format 3")
    with pytest.raises(Failure, match="earlier version"):
        Journal(path, "a", 1)
    assert path.read_bytes() == b"SQLite format 3"


@pytest.mark.parametrize("version", [b"1", b"9"])
def test_a_segment_of_another_version_is_not_touched(path, opened, version):
    journal = opened()
    journal.append(b"a record")
    journal.close()
    (segment,) = path.glob("*.segment")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:7] + version + whole[8:])
    with pytest.raises(Failure, match="another version"):
        Journal(path, "a", 1)
    assert segment.read_bytes() == whole[:7] + version + whole[8:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three segments of ten records, and those."""
    path, kept = tmp_path_factory.mktemp("written") / "journal", []
    journal = Journal(path, "a", 1)
    for k in range(30):
        kept.append((k + 1, noise(k) + b"the same in all"))
        journal.append(kept[-1][1])
        if k in (9, 19):
            journal.turn()
    journal.close()
    return path, kept


def copied(path, name):
    copy = path.with_name(name)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    return copy


def test_of_the_newest_segment_whatever_is_cut_off_the_records_before_are_there(written, opened):
    path, kept = written
    size = segments(path)[-1].stat().st_size
    beginning = size - sum(len(piece) + 8 for piece in journal_module.read_segment(segments(path)[-1]).records)
    counts = []
    for length in range(beginning, size):
        copy = copied(path, "cut")
        os.truncate(segments(copy)[-1], length)
        journal = opened(at=copy)
        found = records(journal)
        assert found == kept[: len(found)]
        assert journal.append(b"new") == len(found) + 1
        journal.close()
        journal = opened(at=copy)
        assert records(journal) == [*found, (len(found) + 1, b"new")]
        journal.close()
        counts.append(len(found))
    assert (min(counts), max(counts)) == (20, 29)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_bytes_that_are_damaged_anywhere_never_give_wrong_records(written, data):
    path, kept = written
    copy = copied(path, "damaged")
    which = data.draw(st.integers(0, 2))
    file = segments(copy)[which]
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.binary(min_size=1, max_size=20))
    changed = content[:place] + change + content[place + data.draw(st.integers(0, 20)) :]
    file.write_bytes(changed)
    if changed != content and which < 2:
        with pytest.raises(Failure, match=re.escape(str(file))):
            Journal(copy, "a", 1)
        return
    with suppress(Failure):  # its beginning is damaged
        journal = Journal(copy, "a", 1)
        found = records(journal)
        journal.close()
        assert found == kept[: len(found)]
        assert len(found) >= 20


def test_damage_does_not_matter_where_a_checkpoint_holds_the_records(written, opened):
    path, kept = written
    copy = copied(path, "old")
    content = bytearray(segments(copy)[0].read_bytes())
    content[100] ^= 1
    segments(copy)[0].write_bytes(content)
    with pytest.raises(Failure, match="is damaged: put it back"):
        Journal(copy, "a", 10)
    journal = opened(first=11, at=copy)
    assert (journal.begins, records(journal, 10)) == (11, kept[10:])


def test_where_a_segment_is_missing_it_begins_behind_that(written, opened):
    path, kept = written
    copy = copied(path, "missing")
    segments(copy)[1].unlink()
    journal = opened(at=copy)
    assert (journal.begins, records(journal)) == (21, kept[20:])
    assert segments(copy)[0].exists()  # what is missing may be put back


def test_without_a_journal_none_is_left_that_would_be_taken_for_what_came_since(path, opened):
    journal = opened()
    for _ in range(5):
        journal.append(b"x")
    journal.close()
    with pytest.raises(Failure, match="frames that no checkpoint holds"):
        NoJournal(path, "a", 5)
    assert path.exists()
    nothing = NoJournal(path, "a", 6)
    assert not path.exists()
    assert [nothing.append(b"y") for _ in range(3)] == [6, 7, 8]
    assert (nothing.last, nothing.durable, records(nothing)) == (8, 8, [])
    nothing.close()
    opened().close()
    NoJournal(path, "b", 1).close()
    assert not path.exists()
