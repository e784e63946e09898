"""When workers are heard, when they count as silent, and when checkpoints begin: real daemons on slow streams."""

import os
import signal
import threading
import time

import pytest
from daemon import VECTOR, Daemon, layers, wait_for

from streamrnn import config
from streamrnn.workers.supervision import clock
from streamrnn.workers.supervision.checkpoint_timer import CheckpointTimer
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.placement import PUBLISHER, WorkerHandle

PARTS = {**VECTOR, "layers": layers("lstm 8"), "pipeline": "[supervision]\nheartbeat = 0.5"}


def pause(seconds):
    """Time is what is tested here."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize(("rate", "options"), [(5, ()), (20, ("--fused",))])  # `benchmarks.reliability.rates` has more
def test_workers_are_heard_whatever_the_rate_of_a_stream(rate, options):
    with Daemon(**PARTS) as daemon:
        daemon.start(*options)
        with daemon.client() as client:
            until = time.monotonic() + 3
            while time.monotonic() < until:
                client.step([1.0, 2.0, 3.0, 4.0], [1.0, 0.0])
                pause(1 / rate)
            status = client.status()
        assert status["recoveries"] == 0
        daemon.stop()


def test_a_daemon_that_was_stopped_as_a_whole_goes_on_as_it_was():
    with Daemon(**PARTS) as daemon:
        daemon.start()
        pids = [daemon.process.pid, *(worker.pid for worker in daemon.workers().values())]
        with daemon.client() as client:
            client.step([1.0, 2.0, 3.0, 4.0], [1.0, 0.0])
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for pid in pids:
                    os.kill(pid, number)
                pause(2.0)  # four heartbeats
            client.step([1.0, 2.0, 3.0, 4.0], [1.0, 0.0])
            assert client.status()["recoveries"] == 0
        daemon.stop()


def test_a_worker_that_is_stopped_alone_is_noticed():
    with Daemon(**PARTS) as daemon:
        daemon.start()
        daemon.workers()["stages-0"].send_signal(signal.SIGSTOP)
        with daemon.client() as client:
            wait_for(lambda: client.status()["recoveries"] == 1)
            client.step([1.0, 2.0, 3.0, 4.0], [1.0, 0.0])
        daemon.stop()


@pytest.fixture
def times(monkeypatch):
    """What the clock's source says, to be set."""
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    return now


def test_time_without_a_look_does_not_count(times):
    running = RunningClock()
    for now, seconds in ((0.1, 0.1), (0.25, 0.25), (100.0, 0.45), (100.1, 0.55)):
        times[0] = now
        assert running.look() == pytest.approx(seconds)


def worker(name, **facts):
    made = WorkerHandle(name, name, name, {})
    made.facts = facts
    return made


def workers(busy, inputs=0):
    return {"stages-0": worker("stages-0", busy=busy), PUBLISHER: worker(PUBLISHER, busy=0.1, inputs=inputs)}


NEVER = {"checkpoint_seconds": 0.0, "checkpoint_frames": 0, "recovery_seconds": 0.0}


@pytest.mark.parametrize(
    ("settings", "passed", "busy", "inputs", "due"),
    [
        ({}, 1000.0, 1000.0, 10**6, False),
        ({"recovery_seconds": 4.0}, 5.0, 3.9, 10**6, False),
        ({"recovery_seconds": 4.0}, 5.0, 4.1, 0, True),
        ({"recovery_seconds": 4.0}, 1000.0, 3.9, 0, False),  # a slow stream
        ({"checkpoint_seconds": 60.0}, 59.0, 59.0, 0, False),
        ({"checkpoint_seconds": 60.0}, 61.0, 0.0, 0, True),
        ({"checkpoint_frames": 100}, 1.0, 0.0, 99, False),
        ({"checkpoint_frames": 100}, 1.0, 0.0, 100, True),
    ],
)
def test_a_checkpoint_is_due_by_time_by_frames_or_where_catching_up_would_take_too_long(
    settings, passed, busy, inputs, due, times
):
    running = RunningClock()
    timer = CheckpointTimer(running)
    timer.begin(0, workers(0.0).values())
    running.seconds += passed
    assert timer.due(config.State(**NEVER | settings), workers(busy, inputs), full=False) is due


def test_a_checkpoint_counts_from_where_the_last_one_began():
    running = RunningClock()
    timer = CheckpointTimer(running)
    running.seconds = 100.0
    timer.begin(50, workers(70.0).values())
    running.seconds = 103.0
    state = config.State(**NEVER | {"recovery_seconds": 4.0})
    assert timer.catching_up(workers(72.0).values()) == pytest.approx(2.0)
    assert not timer.due(state, workers(72.0), full=False)
    assert timer.due(state, workers(74.5), full=False)


def test_a_checkpoint_is_begun_as_much_earlier_as_it_takes():
    """As long as it is being written, what would be caught up with grows."""
    running = RunningClock()
    timer = CheckpointTimer(running)
    timer.begin(0, workers(0.0).values())
    state = config.State(**NEVER | {"recovery_seconds": 4.0})
    running.seconds = 100.0
    for cost, due in ((0.0, 4.0), (1.5, 2.5), (9.0, 2.0)):
        timer.cost = cost
        assert not timer.due(state, workers(due - 0.1), full=False)
        assert timer.due(state, workers(due + 0.1), full=False)


def test_a_disk_that_is_slow_is_not_kept_busy_for_ever():
    running = RunningClock()
    timer = CheckpointTimer(running)
    timer.begin(0, [])
    timer.cost = 5.0
    state = config.State(**NEVER | {"recovery_seconds": 4.0})
    running.seconds = 6.0
    assert not timer.due(state, workers(6.0), full=False)
    running.seconds = 21.0
    assert timer.due(state, workers(21.0), full=False)


@pytest.mark.long
def test_at_full_speed_checkpoints_come_often_and_on_a_slow_stream_they_do_not():
    with Daemon(source='kind = "text"\npasses = 0') as daemon:
        text = daemon.config.read_text()
        daemon.config.write_text(text + "checkpoint_seconds = 0\nrecovery_seconds = 0.3\nkeep = 9\n")
        daemon.start()
        with daemon.client() as client:
            wait_for(lambda: (client.status()["checkpoint"] or {"number": 0})["number"] >= 4)
        daemon.stop()
    with Daemon(**PARTS) as daemon:
        text = daemon.config.read_text()
        daemon.config.write_text(text + "checkpoint_seconds = 0\nrecovery_seconds = 0.3\n")
        daemon.start()
        with daemon.client() as client:
            for _ in range(20):
                client.step([1.0, 2.0, 3.0, 4.0], [1.0, 0.0])
                pause(0.1)
            assert client.status()["checkpoint"] is None
        daemon.stop()
