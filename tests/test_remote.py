"""The commands that speak to a running daemon, as a person or a script runs them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from daemon import TEXT, TIMEOUT, VECTOR, Daemon, layers


@pytest.fixture(scope="module")
def text():
    with Daemon(**TEXT, layers=layers("gru 16")) as daemon:
        yield daemon.start()
        daemon.stop()


@pytest.fixture(scope="module")
def taught(text):
    """The same daemon when it has learned "abcabc..." by heart."""
    with text.client() as client:
        for token in b"abc" * 1000:
            client.send(token, stream="lesson")
        client.flush()
    return text


@pytest.fixture(scope="module")
def vectors():
    with Daemon(**VECTOR) as daemon:
        yield daemon.start()
        daemon.stop()


def command(daemon: Daemon, *words: str, input: str | None = None) -> subprocess.CompletedProcess:
    words = (*words, "--control", f"ipc://{daemon.folder}/control", "--timeout", "30")
    line = [sys.executable, "-m", "streamrnn", *words]
    return subprocess.run(line, capture_output=True, text=True, input=input, timeout=TIMEOUT, check=False)


def printed(daemon: Daemon, *words: str, input: str | None = None) -> str:
    done = command(daemon, *words, input=input)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_status_is_for_people_and_for_programs(text):
    shown = printed(text, "status")
    assert "running" in shown
    assert "gru 16" in shown
    facts = json.loads(printed(text, "status", "--json"))
    assert (facts["name"], facts["state"], facts["checkpoint"]) == ("test", "running", None)
    assert facts["journal"].keys() == {"bytes", "records", "not_durable"}
    resident = {worker.pid: worker.memory_info().rss for worker in text.workers().values()}
    for worker in facts["workers"]:
        assert worker["memory"] == pytest.approx(resident[worker["pid"]], rel=0.5)
        assert 0 <= worker["heard"] < 5
        assert f"{worker['name']}  {worker['does']}  pid {worker['pid']}" in shown


def test_what_is_sent_is_counted_and_generated_from(text):
    assert printed(text, "send", "abcabc") == "6 frames accepted on stream main\n"
    assert json.loads(printed(text, "send", "--json", "--stream", "b", input="xyz")) == {"stream": "b", "frames": 3}
    greedy = printed(text, "generate", "abc", "--length", "8", "--temperature", "0")
    assert greedy.startswith("abc")
    again = json.loads(printed(text, "generate", "abc", "--length", "8", "--temperature", "0", "--json"))
    assert again["prefix"] + again["text"] + "\n" == greedy
    assert printed(text, "generate", "abc", "--length", "8", "--temperature", "2", "--top-k", "1") == greedy


def test_until_ends_what_is_generated_before_that_byte(taught):
    """The network has learned to say "abcabc..." and nothing else."""
    words = ("generate", "c", "--temperature", "0", "--length")
    assert printed(taught, *words, "5") == "cabcab\n"
    assert printed(taught, *words, "5", "--until", "c") == "cab\n"
    assert printed(taught, *words, "5", "--until", "x") == "cabcab\n"
    done = command(taught, *words, "5", "--until", "ab")
    assert (done.returncode, done.stderr) == (2, "streamrnn: until must be one byte, not 'ab'\n")


def test_bytes_that_are_no_text_are_taken_as_arguments_too(text):
    byte = "\udcff"  # the byte 0xff, as Python has it from a command line
    words = ("generate", byte + "a", "--length", "3", "--temperature", "0", "--until", byte)
    assert printed(text, *words).startswith("\ufffda")
    assert json.loads(printed(text, *words, "--json"))["prefix"] == "\ufffda"
    with text.client() as client:
        assert (
            printed(text, *words)
            == "\ufffda"
            + client.generate(b"\xffa", max_length=3, temperature=0, until=0xFF).decode(errors="replace")
            + "\n"
        )
        with client.subscribe("raw", timeout=20) as outputs:
            assert printed(text, "send", byte, "--stream", "raw") == "1 frames accepted on stream raw\n"
            said = next(outputs).y
        assert np.array_equal(client.step(0xFF, stream="byte").y, said)


def test_tail_prints_outputs_as_they_come(text):
    tail = [sys.executable, "-m", "streamrnn", "tail", "c", "--frames", "5", "--json"]
    with (
        text.client() as client,
        subprocess.Popen(
            [*tail, "--control", f"ipc://{text.folder}/control"], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        lines = []
        while process.poll() is None:
            client.send(97, stream="c")
            client.flush()
        lines = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert [line["stream"] for line in lines] == ["c"] * 5
    assert [line["seq"] - lines[0]["seq"] for line in lines] == list(range(5))
    assert all(sum(line["y"]) == pytest.approx(1, abs=1e-4) for line in lines)


def test_vectors_and_targets_are_sent_as_lines(vectors):
    sent = printed(vectors, "send", "--json", input="1 2 3 4 -> 0.5 -0.5\n5 6 7 8\n")
    assert json.loads(sent)["frames"] == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 2 three 4", "line 1: could not convert string to float"),
        ("1 2 3", "expected a vector of shape (4,), got (3,)"),
        ("1 2 3 4 -> 1", "expected a vector of shape (2,), got (1,)"),
    ],
)
def test_a_line_that_does_not_fit_is_one_line_of_error(vectors, line, reason):
    done = command(vectors, "send", line)
    assert done.returncode == 2
    assert done.stderr.startswith("streamrnn: ")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_daemon_that_does_not_predict_bytes_generates_nothing(vectors):
    done = command(vectors, "generate", "abc")
    assert done.returncode == 2
    assert "a text needs a network that takes 256 different bytes" in done.stderr


def test_no_daemon_is_one_line():
    line = [sys.executable, "-m", "streamrnn", "status", "--control", "ipc:///nowhere/control", "--timeout", "0.2"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    assert done.stderr == "streamrnn: no daemon answers at ipc:///nowhere/control (waited 0.2 s); is it running?\n"
