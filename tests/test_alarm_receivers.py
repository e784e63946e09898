"""Receivers of alarms: what is an alarm, how messages are carried, and real daemons whose processes die."""

import itertools
import json
import os
import random
import re
import socket
import subprocess
import textwrap
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import numpy as np
import pytest
import trustme
from daemon import wait_for
from hypothesis import given
from hypothesis import strategies as st
from test_mqtt_sink import Listener
from test_sinks import CONFIG, PARTS, STREAMS, Sinking
from typer.testing import CliRunner

from benchmarks.shared.brokers import Mosquitto
from streamrnn.alarms import Surroundings, receiver_of
from streamrnn.alarms.outbox import Outbox
from streamrnn.alarms.receiver import Receiver
from streamrnn.alarms.watch import Limit, Observation, Watch
from streamrnn.cli.main import app
from streamrnn.client.output import Output
from streamrnn.config import ConfigError, parse
from streamrnn.sinks import SinkError

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/alarms.md").read_text()
(VERIFY,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Y = np.zeros(1, np.float32)


def expected(outputs, above, frames):
    """(SEQ, event) of the alarms by loss of (seq, stream, loss): runs of that many losses above."""
    found = []
    for stream in {stream for _, stream, _ in outputs}:
        scored = [(seq, loss) for seq, name, loss in outputs if name == stream and loss is not None]
        high = "".join("+" if loss > above else "-" for _, loss in scored)
        for run in re.finditer(rf"\+{{{frames},}}(-?)", high):
            found.append((scored[run.start() + frames - 1][0], "begins"))
            if run.group(1):
                found.append((scored[run.end() - 1][0], "ends"))
    return sorted(found)


def kinds(messages):
    return [(each["seq"], each["event"]) for each in messages]


def alone(messages):
    """Each alarm by itself, in the order in which it was sent."""
    return [{**each, "held": []} for message in messages for each in (*message["held"], message)]


# --- what is an alarm -----------------------------------------------------------------------------------------------

stretches = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 9.0, 9.0, None])), max_size=60)


@given(stretches, st.integers(1, 3), st.randoms())
def test_losses_above_a_limit_are_alarms_whatever_dies(said, frames, dice):
    outputs = [(seq, stream, loss) for seq, (stream, loss) in enumerate(said)]
    place, disk = 0, msgspec.json.encode(Outbox())
    while place < len(outputs):
        box = msgspec.json.decode(disk, type=Outbox)
        box.begin("r")
        watch, until = Watch("d", box, Limit(5.0, frames), True), dice.randint(place, len(outputs))
        for seq, stream, loss in outputs[max(place, box.seq + 1) : until]:
            watch.look(Observation("r", Output(stream, seq, Y, float("nan") if loss is None else loss), None))
        if dice.random() < 0.7:  # else it dies before
            disk, place = msgspec.json.encode(box), until
    waiting = msgspec.json.decode(disk, type=Outbox).waiting
    assert sorted(kinds(waiting)) == expected(outputs, 5.0, frames)
    begun = {}
    for message in waiting:
        assert message["began"] == (begun.get(message["stream"]) if message["event"] == "ends" else None)
        begun[message["stream"]] = message["id"]


def test_what_comes_too_soon_waits_and_comes_together():
    box = Outbox(waiting=[{"id": str(k), "stream": "ab"[k == 2]} for k in range(4)])
    assert box.next(1000.0, 60.0) == {
        "id": "3",
        "stream": "a",
        "held": [{"id": "0", "stream": "a"}, {"id": "1", "stream": "a"}],
    }
    box.waiting.append({"id": "4", "stream": "a"})
    assert box.next(1000.0, 60.0)["id"] == "3"  # it is not answered
    assert len(box) == 5
    box.confirm(1001.0)
    assert box.next(1002.0, 60.0)["id"] == "2"
    box.confirm(1002.0)
    assert box.next(1060.0, 60.0) is None
    assert box.next(1061.0, 60.0)["id"] == "4"
    box.confirm(1061.0)
    assert len(box) == 0
    box.waiting.append({"id": "5", "stream": "a"})
    assert box.next(900.0, 60.0)["id"] == "5"  # the clock was set back


def test_a_new_run_begins_with_nothing_open_and_what_waits_stays():
    box = Outbox("r", 7, {"a": 2}, {"a": {"loss": "r-7-loss"}}, [{"id": "r-7-loss"}])
    box.begin("r")
    assert (box.seq, box.above) == (7, {"a": 2})
    box.begin("s")
    assert (box.seq, box.above, box.open, len(box)) == (-1, {}, {}, 1)


def test_with_too_many_waiting_no_more_outputs_are_read(tmp_path):
    table = receiver_of({"kind": "command", "command": ["false"], "above": 0.0, "every": 0})
    receiver = Receiver(table, Surroundings("d", tmp_path, lambda *_: None))
    receiver.last("r")
    receiver.write([])
    receiver.write([Observation("r", Output("a", seq, Y, (-1.0, 1.0)[seq % 2]), None) for seq in range(1100)])
    assert receiver.waiting == 1099
    with pytest.raises(SinkError, match=r"1,099 alarms wait; false: ends with 1"):
        receiver.write([])
    assert receiver.flush(1.0)
    again = Receiver(table, Surroundings("d", tmp_path, lambda *_: None))
    assert again.last("r") == 1099
    assert again.waiting == 1099


# --- the config -----------------------------------------------------------------------------------------------------


def problem(table, more=""):
    with pytest.raises(ConfigError) as error:
        parse(f"{CONFIG}\n[[alarms]]\n{table}\n{more}")
    return str(error.value)


def test_what_the_page_shows_is_a_config_and_paths_are_those_in_its_folder():
    (tables,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    tables = tables.replace("/usr/bin/logger", "/bin/cat")
    sensors = (ROOT / "configs/sensors.toml").read_text()
    webhook, mqtt, command, log = parse(f"{sensors}\n{tables}", folder="/etc/streamrnn").alarms
    assert webhook.secret_file == "/etc/streamrnn/hook.secret"
    assert (webhook.every, mqtt.every, webhook.above, log.above, log.frames) == (60.0, 60.0, None, 5.0, 10)
    assert [command.wants(name) for name in ("boiler", "pump", "preview")] == [True, False, False]
    (message,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    seen = Observation("5952c5e5146be9c0", Output("boiler", 2999, Y, 7.31, time=1795782499500000000), None)
    box = Outbox(above={"boiler": 9})
    Watch("plant", box, Limit(5.0, 10), True).look(seen)
    assert box.next(0.0, 0.0) == json.loads(message)


def test_the_example_beside_the_configs_is_one():
    (table,) = re.findall(r"```toml\n(.*?)```", (ROOT / "configs/README.md").read_text(), re.DOTALL)
    (webhook,) = parse((ROOT / "configs/sensors.toml").read_text() + textwrap.dedent(table)).alarms
    assert (webhook.kind, webhook.every) == ("webhook", 300.0)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "webhook"\nurl = "http://a/"', '"alarms[0].above" must be given where there is no [anomaly]'),
        ('kind = "log"', '"alarms[0].above" must be given'),
        ('kind = "webhook"\nabove = 1.0', '"alarms[0].url" or url_file must be given, one of the two'),
        ('kind = "webhook"\nabove = 1.0\nurl = "ftp://a"', "must be http://HOST:PORT/PATH or https://"),
        ('kind = "webhook"\nabove = 1.0\nurl = "http://a:0x"', "must be http://HOST:PORT/PATH or https://"),
        ('kind = "webhook"\nabove = 1.0\nurl = "http://a/\\r\\nb: c"', "must be http://HOST:PORT/PATH or https://"),
        ('kind = "webhook"\nabove = 1.0\nurl = "http://ann:secret@a/"', "cannot have a user in it"),
        ('kind = "mqtt"\nabove = 1.0\nurl = "mqtt://a"\ntopic = "a/#"', 'cannot have "+" or "#" in it'),
        (
            'kind = "command"\nabove = 1.0\ncommand = ["./a"]',
            'must begin with a whole path or a name in PATH, not "./a"',
        ),
        ('kind = "command"\nabove = 1.0\ncommand = ["no-such"]', '"no-such", which is no program that can be run'),
        ('kind = "command"\nabove = 1.0\ncommand = "date"', '"alarms[0].command" must be a list'),
        ('kind = "mail"\nabove = 1.0', 'must be "webhook", "mqtt", "command" or "log"'),
        ('kind = "log"\nabove = 1.0\nfor = 0', '"alarms[0].for" must be an integer from 1'),
        ('kind = "log"\nabove = 1.0\n[[alarms]]\nkind = "log"\nabove = 2.0', '"alarms" has "alarms to log" twice'),
    ],
)
def test_what_cannot_be_is_said(table, said):
    assert said in problem(table)


# --- webhooks -------------------------------------------------------------------------------------------------------


class Hook(ThreadingHTTPServer):
    """A webhook: what it is to do next is in `orders`, then it answers 200. A context manager."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Answering)
        self.orders, self.got, self.answered, self.times, self.open = [], [], [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_):
        self.open.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A client that has died is none."""

    @property
    def messages(self):
        return [json.loads(body) for _, body in self.answered]


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.headers, body))
        order = self.server.orders.pop(0) if self.server.orders else 200
        if order == "hang":
            self.server.open.wait(60)
        elif order == "drip":
            while not self.server.open.wait(0.02):
                self.wfile.write(b"x")
        elif order == "noise":
            self.wfile.write(b"\x00\x01\r\n\r\n")
        elif order != "close":
            self.send_response(order)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()
            self.wfile.flush()
            if order == 200:
                self.server.answered.append((self.headers, body))
                self.server.times.append(time.time())

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    with Hook() as server:
        yield server


def carrier(**table):
    return receiver_of({"above": 1.0, **table}).carrier(Surroundings("d", Path("/"), lambda *_: None))


def secret_file(path, text):
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def test_a_message_is_signed_as_the_page_verifies_it(hook, tmp_path):
    found = {}
    exec(VERIFY, found)
    assert len(VERIFY.partition("def ")[2].strip().splitlines()) == 6  # its name, and five lines
    path = secret_file(tmp_path / "secret", f"{SECRET}\n")
    carrier(kind="webhook", url=f"{hook.url}?a=b", secret_file=path).deliver({"id": "r-1-loss", "text": "ä\n"})
    wait_for(lambda: hook.answered)
    ((headers, body),) = hook.answered
    assert json.loads(body) == {"id": "r-1-loss", "text": "ä\n"}
    assert (headers["webhook-id"], headers["content-type"]) == ("r-1-loss", "application/json")
    assert found["is_genuine"](headers, body, SECRET)
    assert not found["is_genuine"](headers, body + b" ", SECRET)
    assert not found["is_genuine"](headers, body, SECRET.replace("M", "N"))


def test_its_signature_is_that_of_openssl(hook, tmp_path):
    path = secret_file(tmp_path / "secret", SECRET)
    carrier(kind="webhook", url=hook.url, secret_file=path).deliver({"id": "a"})
    wait_for(lambda: hook.answered)
    ((headers, body),) = hook.answered
    hexadecimal = subprocess.run(
        ["base64", "-d"], input=SECRET[6:].encode(), capture_output=True, check=True
    ).stdout.hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{hexadecimal}", "-binary"]
    signed = f"a.{headers['webhook-timestamp']}.".encode() + body
    digest = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
    said = subprocess.run(["base64", "-w", "0"], input=digest, capture_output=True, check=True).stdout.decode()
    assert headers["webhook-signature"] == f"v1,{said}"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (500, "answers 500 Internal Server Error"),
        (404, "answers 404 Not Found"),
        (302, "answers 302 Found, and redirects are not followed"),
        ("hang", "does not answer within 0.3 s"),
        ("drip", "does not answer within 0.3 s"),
        ("noise", "does not answer as HTTP does"),
        ("close", "does not answer as HTTP does"),
    ],
)
def test_what_is_no_answer_is_said_and_redirects_are_not_followed(hook, order, said):
    hook.orders = [order]
    with pytest.raises(SinkError, match=re.escape(f"{hook.url}: {said}")):
        carrier(kind="webhook", url=hook.url, timeout=0.3).deliver({"id": "a"})
    assert len(hook.got) == 1


def test_nobody_listens_and_secrets_that_cannot_be_used(hook, tmp_path):
    hook.__exit__()
    with pytest.raises(SinkError, match=r"hook: Connection refused"):
        carrier(kind="webhook", url=hook.url).deliver({"id": "a"})
    path = tmp_path / "secret"
    for text, mode, said in (
        (SECRET, 0o644, "others may read"),
        ("whsec_ä", 0o600, "openssl rand"),
        ("", 0o600, "openssl rand"),
    ):
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(SinkError, match=said):
            carrier(kind="webhook", url=hook.url, secret_file=str(path))
    with pytest.raises(SinkError, match="secret: must be http"):
        carrier(kind="webhook", url_file=secret_file(path, "htp://x"))


def test_a_url_may_be_in_a_file_and_is_told_to_nobody(hook, tmp_path):
    table = receiver_of({"kind": "webhook", "url_file": secret_file(tmp_path / "url", f"{hook.url}\n"), "above": 1.0})
    table.carrier(Surroundings("d", tmp_path, lambda *_: None)).deliver({"id": "a"})
    wait_for(lambda: len(hook.answered) == 1)
    assert table.line == str(tmp_path / "url")


def test_certificates_are_verified(hook, tmp_path):
    import ssl

    ca, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    hook.socket = context.wrap_socket(hook.socket, server_side=True)
    for authority in (ca, other):
        authority.cert_pem.write_to_path(tmp_path / f"{authority is ca}.pem")
    url = hook.url.replace("http", "https")
    carrier(kind="webhook", url=url, ca=str(tmp_path / "True.pem")).deliver({"id": "a"})
    for more in ({}, {"ca": str(tmp_path / "False.pem")}):
        with pytest.raises(SinkError, match="certificate verify failed"):
            carrier(kind="webhook", url=url, **more).deliver({"id": "b"})
    with pytest.raises(SinkError, match="certificate verify failed"):
        carrier(kind="webhook", url=url.replace("127.0.0.1", "localhost"), ca=str(tmp_path / "True.pem")).deliver(
            {"id": "b"}
        )
    wait_for(lambda: len(hook.answered) == 1)


# --- commands -------------------------------------------------------------------------------------------------------


def test_a_command_has_the_message_on_its_standard_input(tmp_path):
    message = {"id": "a", "text": "$(touch x) ; 'ä'" * 10_000}
    carrier(kind="command", command=["tee", str(tmp_path / "$HOME; x")]).deliver(message)
    assert json.loads((tmp_path / "$HOME; x").read_text()) == message
    carrier(kind="command", command=["true"]).deliver(message)  # it reads nothing


def test_a_command_that_fails_or_does_not_end_is_no_answer(tmp_path):
    with pytest.raises(SinkError, match="ends with 3: no paper"):
        carrier(kind="command", command=["sh", "-c", "echo first >&2; echo no paper >&2; exit 3"]).deliver({"id": "a"})
    os.mkfifo(tmp_path / "pipe")
    script = f"sleep 1000 > {tmp_path / 'pipe'} & wait"
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SinkError, match=r"does not end within 0.3 s"):
        carrier(kind="command", command=["sh", "-c", script], timeout=0.3).deliver({"id": "a"})
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # what it had started is gone too
    os.close(reader)
    program = tmp_path / "program"
    program.touch()
    with pytest.raises(SinkError, match="program: Permission denied"):
        carrier(kind="command", command=[str(program)]).deliver({"id": "a"})


# --- daemons --------------------------------------------------------------------------------------------------------

ABOVE = 6.0
LIMIT = f"above = {ABOVE}\nfor = 2"


class Alarming(Sinking):
    """A daemon with receivers, and all outputs in a file."""

    def __init__(self, *tables, more="", **parts):
        alarms = "".join(f"\n[[alarms]]\n{table}\n" for table in tables)
        super().__init__([("jsonl", 'path = "out.jsonl"')], alarms + more, **parts)

    def receivers(self):
        with self.client() as client:
            return client.status()["receivers"]

    def records(self):
        """Its outputs until now, without one that is being written."""
        path = self.folder / "out.jsonl"
        written = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in written[: written.rfind(b"\n") + 1].splitlines()]

    def expected(self, *streams):
        """What of its outputs are alarms; of all streams, or these."""
        losses = [(each["seq"], each["stream"], each["loss"]) for each in self.records()]
        return expected([each for each in losses if each[1] in (streams or STREAMS)], ABOVE, 2)


@contextmanager
def fed(daemon, count, first=0):
    """Frames of several streams, in turn, which are strange now and then."""
    frames = np.random.default_rng(3).normal(size=(first + count, 2))
    with daemon.client() as client:
        for k, frame in enumerate(frames[first:], first):
            client.send(frame * (12 if k // 6 % 4 == 3 else 1), stream=STREAMS[k % len(STREAMS)])
        client.flush()
        yield client


def sent(daemon, count):
    """Until so many alarms were answered, and none wait."""
    wait_for(lambda: {(each["sent"], each["waiting"]) for each in daemon.receivers()} == {(count, 0)})


def test_deaths_of_receivers_and_daemon_lose_no_alarm_and_send_none_twice(hook):
    with Alarming(
        f'kind = "webhook"\nurl = "{hook.url}"\nevery = 0\n{LIMIT}', more="[supervision]\nrestarts = 100\n"
    ) as daemon:
        daemon.start()
        hook.orders = [500, "close", 200, "hang"]
        with fed(daemon, 150):
            wait_for(lambda: len(hook.got) == 4)
        daemon.sink_process().kill()  # while a message is not answered
        wait_for(lambda: len(hook.answered) > 4)
        hook.orders = ["hang"]
        with fed(daemon, 150, 150):
            wait_for(lambda: not hook.orders)
        daemon.kill()
        with hook_down(hook):
            daemon.start()
            with fed(daemon, 100, 300):
                wait_for(lambda: "Connection refused" in daemon.receivers()[0]["trouble"])
            daemon.kill()  # with alarms that wait
            daemon.start()
            wait_for(lambda: daemon.receivers()[0]["waiting"] > 2)
        with fed(daemon, 100, 400):
            wait_for(lambda: len(daemon.records()) == 500)
            wait_for(lambda: len(hook.messages) >= len(daemon.expected()))
        daemon.stop()
        messages, wanted = hook.messages, daemon.expected()
    assert len(wanted) > 30
    assert sorted(kinds(messages)) == wanted
    for stream in STREAMS:
        seqs = [each["seq"] for each in messages if each["stream"] == stream]
        assert seqs == sorted(seqs)
    tries = [json.loads(body) for _, body in hook.got]
    assert all(each == next(other for other in tries if other["id"] == each["id"]) for each in tries)


@contextmanager
def hook_down(hook):
    """Nobody listens there meanwhile."""
    hook.__exit__()
    yield
    hook.open.clear()
    hook.socket = socket.create_server(hook.server_address, backlog=16)
    threading.Thread(target=hook.serve_forever, args=(0.01,)).start()


@pytest.mark.long
@pytest.mark.parametrize("placement", ["placement = [1, 2]", 'placement = "single"'])
def test_kills_at_any_moment_lose_nothing_and_repeat_at_most_what_was_being_written_down(hook, placement):
    dice, kills = random.Random(5), 0
    more = "[supervision]\nrestarts = 100\n"
    with Alarming(f'kind = "webhook"\nurl = "{hook.url}"\nevery = 0\n{LIMIT}', more=more, pipeline=placement) as daemon:
        daemon.start()
        for k in range(12):
            with fed(daemon, 50, 50 * k):
                until = len(hook.got) + dice.randint(0, 6)
                hook.orders = dice.choices([500, "close", 200, 200, 200, 200], k=6)
                wait_for(lambda until=until: len(hook.got) >= until or daemon.receivers()[0]["waiting"] == 0)
                kills += 1
                if k % 2 == 0:
                    daemon.sink_process().kill()
            if k % 2:
                daemon.kill()
                daemon.start()
        wait_for(lambda: len(daemon.records()) == 600)
        wait_for(lambda: set(kinds(hook.messages)) >= set(daemon.expected()))
        daemon.stop()
        assert sorted(set(kinds(hook.messages))) == daemon.expected()
        assert len({each["id"] for each in hook.messages}) == len(daemon.expected())
        assert len(hook.messages) - len(set(kinds(hook.messages))) <= kills


@pytest.mark.long
def test_a_receiver_that_is_away_for_longer_than_the_history_reaches_loses_nothing(hook):
    table = f'kind = "webhook"\nurl = "{hook.url}"\nevery = 0\n{LIMIT}'
    with Alarming(table, more="[outputs]\nhistory = 20000\n") as daemon:
        with hook_down(hook):
            daemon.start()
            for k in range(12):
                with fed(daemon, 50, 50 * k):
                    wait_for(lambda k=k: daemon.sinks()[0]["written"] == 50 * (k + 1))
                waiting = len(daemon.expected())
                wait_for(lambda waiting=waiting: daemon.receivers()[0]["waiting"] == waiting)
            daemon.stop()
        daemon.start()
        sent(daemon, len(daemon.expected()))
        assert daemon.receivers()[0]["missed"] == 0
        daemon.stop()
        assert sorted(kinds(hook.messages)) == daemon.expected()


@pytest.mark.long
def test_a_receiver_whose_secret_cannot_be_read_loses_nothing(hook):
    table = f'kind = "webhook"\nurl = "{hook.url}"\nsecret_file = "secret"\nevery = 0\n{LIMIT}'
    with Alarming(table, more="[outputs]\nhistory = 20000\n") as daemon:
        daemon.start()
        for k in range(6):
            with fed(daemon, 50, 50 * k):
                wait_for(lambda k=k: daemon.sinks()[0]["written"] == 50 * (k + 1))
            waiting = len(daemon.expected())
            wait_for(lambda waiting=waiting: daemon.receivers()[0]["waiting"] == waiting)
        wait_for(lambda: "No such file" in daemon.receivers()[0]["trouble"])
        secret_file(daemon.folder / "secret", SECRET)
        sent(daemon, waiting)
        wait_for(lambda: not daemon.receivers()[0]["trouble"])
        daemon.stop()
        assert sorted(kinds(hook.messages)) == daemon.expected()


@pytest.mark.long
def test_a_stream_has_a_message_at_once_and_then_what_came_meanwhile(hook):
    with Alarming(f'kind = "webhook"\nurl = "{hook.url}"\nevery = 2\n{LIMIT}\nstreams = ["a", "c"]') as daemon:
        daemon.start()
        for k in range(4):
            with fed(daemon, 75, 75 * k):
                wait_for(lambda k=k: daemon.sinks()[0]["written"] == 75 * (k + 1))
        wanted = daemon.expected("a", "c")
        wait_for(lambda: len(alone(hook.messages)) == len(wanted))
        daemon.stop()
    assert sorted(kinds(alone(hook.messages))) == wanted
    assert len(hook.messages) < len(wanted)
    for stream in ("a", "c"):
        times = [at for at, message in zip(hook.times, hook.messages, strict=True) if message["stream"] == stream]
        assert all(after - before > 1.9 for before, after in itertools.pairwise(times))


def test_other_kinds_and_what_status_says(tmp_path):
    command = f'kind = "command"\ncommand = ["tee", "-a", "{tmp_path}/alarms"]\nevery = 0\n{LIMIT}'
    with Mosquitto() as broker, Listener(broker, "plant/alarms") as listener:
        mqtt = f'kind = "mqtt"\nurl = "{broker.url}"\ntopic = "plant/alarms"\nevery = 0\n{LIMIT}'
        with Alarming(command, mqtt, f'kind = "log"\nevery = 0\n{LIMIT}') as daemon:
            tested = CliRunner().invoke(app, ["test-alarms", str(daemon.config)])
            assert tested.exit_code == 0, tested.output
            assert tested.output.count("answered") == 3
            daemon.start("--log", "json")
            with fed(daemon, 200):
                wait_for(lambda: daemon.sinks()[0]["written"] == 200)
            wanted = daemon.expected()
            wait_for(lambda: [each["sent"] for each in daemon.receivers()] == 3 * [len(wanted)])
            status = CliRunner().invoke(app, ["status", "--control", f"ipc://{daemon.folder}/control"])
            assert f"{len(wanted)} alarms sent" in status.output
            printed = daemon.stop()
        wait_for(lambda: len(listener.heard) == len(wanted) + 1)
        by_mqtt = [json.loads(each.payload) for each in listener.heard]
    by_command = [json.loads(each) for each in (tmp_path / "alarms").read_text().replace("}{", "}\n{").splitlines()]
    assert by_mqtt[0]["kind"] == by_command[0]["kind"] == "test"
    assert by_mqtt[1:] == by_command[1:]
    assert sorted(kinds(by_mqtt[1:])) == wanted
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines if line["event"] == "alarm"] == [each["text"] for each in by_mqtt[1:]]


def test_the_alarms_of_detectors_are_those_that_a_client_hears(hook):
    rng = np.random.default_rng(5)
    parts = PARTS | {"readout": 'kind = "forecast"\nsize = 2\nlags = 5', "learning": "window = 1"}
    more = "[anomaly]\nday = 24\nthreshold = 1.5\n"
    with Alarming(f'kind = "webhook"\nurl = "{hook.url}"\nevery = 0', more=more, **parts) as daemon:
        daemon.start()
        with daemon.client() as client, client.alarms() as alarms:
            for _ in range(8):
                for vector in [*rng.normal(size=(150, 2)), *(rng.normal(size=(5, 2)) + 50)]:
                    client.send(vector, stream="a")
                client.flush()
            wait_for(lambda: daemon.sinks()[0]["written"] == 1240)
            events = [each["event"] for each in daemon.records()]
            sent(daemon, events.count("begins") + events.count("ends"))
            heard = [next(alarms) for _ in hook.messages]
        daemon.stop()
    assert len(heard) > 4
    for message, alarm in zip(hook.messages, heard, strict=True):
        plain = json.loads(json.dumps(alarm.plain()))
        assert (message["kind"], message["text"].endswith(plain.pop("words"))) == ("anomaly", True)
        assert {name: message[name] for name in plain} == plain
    assert [each["event"] for each in hook.messages[:4]] == ["begins", "ends", "begins", "ends"]
