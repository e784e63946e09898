"""Standard streams: what cannot show every letter, is gone, full, or closed; and what is sent through them."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
from daemon import TEXT, TIMEOUT, VECTOR, Daemon, have_come, layers, wait_for

from streamrnn.cli import sending
from streamrnn.cli.streams import PLAIN
from streamrnn.workers.supervision.wording import displayable

pytestmark = pytest.mark.long

PROGRAM = [sys.executable, "-m", "streamrnn"]


@pytest.fixture(scope="module")
def text():
    with Daemon(**TEXT, layers=layers("gru 8")) as daemon:
        yield daemon.start()
        daemon.stop()


@pytest.fixture(scope="module")
def vectors():
    with Daemon(**VECTOR) as daemon:
        yield daemon.start()
        daemon.stop()


def at(daemon):
    return "--control", f"ipc://{daemon.folder}/control", "--timeout", "30"


def done(*words, **options):
    return subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, timeout=TIMEOUT, **options)


@contextmanager
def running(daemon, *options, **streams):
    """A daemon on these streams, when its control socket answers; it must stop well, with a checkpoint."""
    command = [*PROGRAM, "run", str(daemon.config), *options]
    process = daemon.process = subprocess.Popen(command, start_new_session=True, **streams)
    try:
        with daemon.client(TIMEOUT) as client:
            wait_for(lambda: client.status()["state"] == "running")
            yield client
        ends = daemon.ends()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        assert have_come(ends)
        assert (daemon.checkpoint() / "manifest.json").exists()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(TIMEOUT)


# What standard output cannot show.


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_shown_plainly(encoding):
    with Daemon() as daemon:
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        (daemon.folder / "text").write_bytes(b"abc" * 400)
        process = done("run", daemon.config, "--source", daemon.folder / "text", env=environment)
        assert (process.returncode, process.stderr) == (0, b"")
        assert "256 tokens -> LSTM 8 -> softmax 256" in process.stdout.decode("ascii")


def test_every_letter_has_a_plain_one_of_ascii():
    assert "".join(PLAIN.values()).isascii()


def test_json_is_utf_8_whatever_a_terminal_can_show(text):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = done("send", "x", "--stream", "größe", "--json", *at(text), env=environment)
    assert process.stdout == '{"stream":"größe","frames":1}\n'.encode()


# Streams that are gone, full or closed.


def test_a_daemon_goes_on_where_its_reader_is_gone_and_says_so():
    with Daemon() as daemon:
        reader, writer = os.pipe()
        os.close(reader)
        with running(daemon, stdout=writer, stderr=subprocess.PIPE) as client:
            os.close(writer)
            client.send_many(b"abc" * 100)
            client.flush()
        _, log = daemon.process.communicate(timeout=TIMEOUT)
    assert log.decode().splitlines() == [
        "streamrnn: standard output cannot be written (Broken pipe): the daemon goes on without it"
    ]


def test_a_daemon_goes_on_where_its_output_is_full():
    with Daemon() as daemon:
        with open("/dev/full", "wb") as full, running(daemon, stdout=full, stderr=subprocess.PIPE) as client:
            client.step(65)
        _, log = daemon.process.communicate(timeout=TIMEOUT)
    assert b"standard output cannot be written (No space left on device)" in log


def test_a_daemon_goes_on_where_nobody_reads_what_it_says():
    with Daemon() as daemon:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, bytes(4096))
        with running(daemon, "--log-level", "info", stdout=writer, stderr=writer) as client:
            os.close(writer)
            client.step(65)
            assert client.status()["recoveries"] == 0
        os.close(reader)


def test_a_daemon_goes_on_where_its_terminal_is_stopped():
    main, other = pty.openpty()
    os.set_blocking(other, False)
    with suppress(BlockingIOError):
        while os.write(other, bytes(1000)):
            pass
    os.set_blocking(other, True)
    with Daemon() as daemon:
        terminal = os.environ | {"TERM": "xterm"}
        with running(daemon, stdout=other, stderr=subprocess.PIPE, env=terminal) as client:
            client.step(65)
            assert client.status()["recoveries"] == 0
        _, log = daemon.process.communicate(timeout=TIMEOUT)
    assert b"standard output cannot be written (nobody reads it)" in log
    os.close(main)
    os.close(other)


def test_a_command_says_that_its_output_is_full_and_is_no_bug():
    with open("/dev/full", "wb") as full:
        process = subprocess.run([*PROGRAM, "check", "text"], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
    line = b"streamrnn: standard output cannot be written: No space left on device\n"
    assert (process.returncode, process.stderr) == (1, line)


@pytest.mark.parametrize("command", ["run", "send"])
def test_closed_standard_input_is_an_error_at_once(command, text):
    with Daemon() as daemon:
        words = ["run", str(daemon.config), "--source", "-"] if command == "run" else ["send", *at(text)]
        line = ["bash", "-c", 'exec "$@" <&-', "bash", *PROGRAM, *words]
        process = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT)
    assert process.returncode in (1, 2)
    assert process.stderr.startswith("streamrnn: standard input is closed")
    assert len(process.stderr.splitlines()) == 1


def test_standard_input_that_cannot_be_read_is_an_error_at_once():
    with Daemon() as daemon, open(daemon.folder / "out", "wb") as out:
        process = done("run", daemon.config, "--source", "-", stdin=out)
    assert process.returncode == 1
    assert b"standard input: is open for writing only" in process.stderr


def test_closed_streams_are_no_places_for_sockets():
    with Daemon() as daemon:
        command = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *PROGRAM, "run", str(daemon.config)]
        daemon.process = subprocess.Popen(command)
        with daemon.client(TIMEOUT) as client:
            wait_for(lambda: client.status()["state"] == "running")
            for number in range(3):
                assert os.readlink(f"/proc/{daemon.process.pid}/fd/{number}") == "/dev/null"
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(TIMEOUT) == 0


# What is generated, on a terminal.


def test_control_characters_are_not_sent_to_a_terminal(text):
    main, other = pty.openpty()
    words = ["generate", "a\x1b[31m\x07b\n", "--length", "1", "--temperature", "0", *at(text)]
    process = subprocess.run([*PROGRAM, *words], stdout=other, stderr=subprocess.PIPE, timeout=TIMEOUT)
    os.close(other)
    shown = os.read(main, 1 << 16)
    os.close(main)
    assert process.returncode == 0
    assert shown.decode().startswith("a·[31m·b\r\n")
    assert done(*words).stdout.startswith(b"a\x1b[31m\x07b\n")
    assert displayable("\x9b\u202e\t\n") == "··\t\n"


# What is sent.


def test_bytes_go_as_they_come(text):
    with text.client() as client, subprocess.Popen([*PROGRAM, "send", *at(text)], stdin=subprocess.PIPE) as process:
        before = client.status()["frames"]
        for piece in (b"hello ", b"world"):
            process.stdin.write(piece)
            process.stdin.flush()
            before += len(piece)
            wait_for(lambda: client.status()["frames"] == before)  # noqa: B023
            assert process.poll() is None
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0


def test_lines_go_as_they_come(vectors):
    with (
        vectors.client() as client,
        subprocess.Popen([*PROGRAM, "send", *at(vectors)], stdin=subprocess.PIPE) as process,
    ):
        before = client.status()["frames"]
        process.stdin.write(b"1 2 3 4\n5 6 7 8 -> 1 0\n9 9")
        process.stdin.flush()
        wait_for(lambda: client.status()["frames"] == before + 2)
        process.stdin.write(b" 9 9")
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0
        wait_for(lambda: client.status()["frames"] == before + 3)


def test_blank_lines_and_a_byte_order_mark_are_passed_over(vectors):
    lines = b"\xef\xbb\xbf1 2 3 4\r\n\r\n  \n5 6 7 8 -> 0 1\n\n"
    assert done("send", *at(vectors), input=lines).stdout == b"2 frames accepted on stream main\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1 two 3 4", "could not convert string to float: 'two'"),
        (b"1 2 3", "expected a vector of shape (4,), got (3,)"),
        (b"1 2 3 nan", "the vector holds NaN or infinity"),
        (b"1 2 3 1e39", "larger than 3.4"),
        (b"1 2 3 4 -> 1", "expected a vector of shape (2,), got (1,)"),
        (b"1 2 3 \xff", "could not convert string to float"),
    ],
)
def test_a_fault_names_its_line_and_how_many_frames_were_accepted(vectors, line, reason):
    process = done("send", *at(vectors), input=b"1 2 3 4\n\n" * 1000 + line + b"\n1 2 3 4\n")
    said = process.stderr.decode()
    assert process.returncode == 2
    assert said.startswith("streamrnn: line 2001: ")
    assert reason in said
    assert said.endswith("; 1,000 frames were accepted\n")


def test_what_the_daemon_refuses_names_its_line_and_how_many_frames_were_accepted():
    sensors = {"input": 'kind = "vector"\nsize = 2', "readout": 'kind = "softmax"\nsize = 2', "predict": "target"}
    with Daemon(**sensors, pipeline="max_streams = 1") as daemon:
        daemon.start()
        with daemon.client() as client:
            client.step([1.0, 2.0], stream="other")
            process = done("send", *at(daemon), input=b"\n1 2\n3 4\n")
        daemon.stop()
    said = process.stderr.decode()
    assert said.startswith("streamrnn: line 2: ")
    assert said.endswith("; 0 frames were accepted\n")


def test_many_frames_at_once_are_what_they_are_one_by_one():
    frames = [[k / 7, -k / 5, 0.5, k % 3] for k in range(700)]
    targets = [[k % 2, 1.0] for k in range(700)]
    parameters = []
    for many in (True, False):
        with Daemon(**VECTOR) as daemon:
            daemon.start()
            with daemon.client() as client:
                if many:
                    client.send_many(frames, targets)
                else:
                    for x, target in zip(frames, targets, strict=True):
                        client.send(x, target)
                client.flush()
                assert client.accepted == 700
            printed = daemon.stop()
            parameters.append([line for line in printed.splitlines() if line.startswith("sha256")])
    assert parameters[0] == parameters[1] != []


def test_lines_are_put_together_from_pieces():
    whole = b"1 2\n\n3 4 -> 5\n6 7\n8 9 -> 1"
    expected = [(1, "1 2"), (2, ""), (3, "3 4 -> 5"), (4, "6 7"), (5, "8 9 -> 1")]
    for size in range(1, len(whole) + 1):
        pieces = [whole[k : k + size] for k in range(0, len(whole), size)]
        assert [line for lines in sending.lines_of(pieces) for line in lines] == expected
