"""The page's process: who is let in, what it tells, and that nobody needs it. Real daemons, raw HTTP."""

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from math import isnan
from pathlib import Path

import numpy as np
import psutil
import pytest
import trustme
from daemon import TIMEOUT, VECTOR, Daemon, have_come, wait_for
from page import Web
from prometheus_client.parser import text_string_to_metric_families

from streamrnn.protocol.keys import Keys

GAUSSIAN = {**VECTOR, "readout": 'kind = "gaussian"\nsize = 4', "predict": "next"}
DOCS = Path(__file__).parents[1] / "docs"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def daemon():
    with Daemon() as running:
        yield running.start()
        running.stop()


@pytest.fixture(scope="module")
def web(daemon):
    with Web(f"ipc://{daemon.folder}/control", daemon.folder) as page:
        yield page


def test_the_printed_address_exchanges_its_token_for_a_cookie(web):
    path = web.printed.removeprefix(f"http://127.0.0.1:{web.port}")
    answer = web.ask(path)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie, *about = answer.headers["Set-Cookie"].split("; ")
    assert cookie == f"streamrnn-{web.port}={web.token}"
    assert set(about) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    page = web.ask("/", Cookie=cookie)
    body = page.read().decode()
    assert page.status == 200
    assert web.token not in body
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/events", "/streams", "/metrics", "/static/app.js", "/nothing"])
def test_without_the_token_nothing_is_shown(web, path):
    answer = web.ask(path)
    assert answer.status == 401
    assert len(answer.read()) < 200
    assert web.ask(path, Authorization="Bearer wrong").status == 401
    assert web.ask(path, Cookie=f"streamrnn-{web.port}=wrong; streamrnn-1={web.token}").status == 401
    assert web.ask(f"{path}?token=wrong").status == 401
    assert web.ask(f"{path}?token=").status == 401


def test_a_foreign_door_is_refused_with_the_right_token_too(web):
    good = f"127.0.0.1:{web.port}"
    refused = [
        {"Host": "evil.example"},  # DNS rebinding: the browser believes that this is evil.example
        {"Host": f"evil.example:{web.port}"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{web.port + 1}"},
        {"Host": f"127.0.0.1.evil.example:{web.port}"},
        {"Host": ""},
        {"Host": good, "Origin": "http://evil.example"},
        {"Host": good, "Origin": "null"},
        {"Host": good, "Origin": "http://127.0.0.1"},
        {"Host": good, "Origin": f"https://{good}"},
        {"Host": good, "Sec_Fetch_Site": "cross-site"},
        {"Host": good, "Sec_Fetch_Site": "same-site"},  # another port of this machine
    ]
    for headers in refused:
        assert web.ask("/metrics", **headers, **web.cookie).status == 403, headers
        assert web.ask("/metrics", **headers, **web.bearer).status == 403, headers
        assert web.ask(f"/?token={web.token}", **headers).status == 403, headers
    for host in (good, f"localhost:{web.port}", f"[::1]:{web.port}"):
        assert (
            web.ask("/metrics", Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin", **web.cookie).status
            == 200
        )
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert web.ask("/", method, **web.bearer).status == 405


def test_a_gap_is_filled_from_the_history(daemon, web):
    path = "/events?stream=gap"
    with daemon.client() as client:
        said = [client.step(token, stream="gap") for token in b"before it"]
        first = gather(web.events(path), said[-1].seq)
        said += [client.step(token, stream="gap") for token in b", meanwhile"]
        client.step(1, stream="another")
        second = gather(web.events(path, Last_Event_ID=str(said[8].seq)), said[-1].seq)
        everything = gather(web.events(path), said[-1].seq)
    assert first["seq"] == [output.seq for output in said[:9]]
    assert second["seq"] == [output.seq for output in said[9:]]
    assert everything["seq"] == [output.seq for output in said]
    assert bytes(second["symbol"]) == b", meanwhile"
    for column, part in ((first, said[:9]), (second, said[9:])):
        losses = [np.nan if loss is None else loss for loss in column["loss"]]
        np.testing.assert_allclose(losses, [output.loss for output in part], rtol=1e-5)


def test_nothing_is_missing_where_a_worker_dies(daemon, web):
    events = web.events("/events?stream=deaths")
    with daemon.client() as client:
        said = [client.step(token, stream="deaths") for token in b"before, "]
        begin = gather(events, said[-1].seq, close=False)
        for name in ("publisher", "stages-0"):
            said += [client.step(token, stream="deaths") for token in b"not seen yet, "]
            daemon.workers()[name].kill()
            said += [client.step(token, stream="deaths") for token in b"and then, "]
        rest = gather(events, said[-1].seq)
    assert begin["seq"] + rest["seq"] == [output.seq for output in said]


def gather(events, last, close=True):
    """The columns of all outputs up to that SEQ."""
    found = {"seq": [], "symbol": [], "loss": []}
    for kind, number, data in events:
        if kind == "outputs":
            assert number == str(data["seq"][-1])
            for name, values in found.items():
                values += data[name]
            if data["seq"][-1] >= last:
                if close:
                    events.close()
                return found
    raise AssertionError("the events ended")


def test_streams_are_found_by_what_is_in_their_names(daemon, web):
    with daemon.client() as client:
        for name in ("pump 1", "pump 2", "valve", HOSTILE):
            client.step(1, stream=name)
        assert client.streams("pump") == ["pump 2", "pump 1"]
    answer = json.loads(web.ask("/streams?like=ump", **web.bearer).read())
    assert answer == ["pump 2", "pump 1"]
    assert json.loads(web.ask("/streams?like=%3Cimg", **web.bearer).read()) == [HOSTILE]


def test_bad_questions_get_an_answer_that_says_so(web):
    for query in ("first=x", "count=-1", "count=1000", "first=-5", "stream=" + "a" * 256):
        assert web.ask(f"/events?{query}", **web.bearer).status == 400
    assert web.ask("/events", Last_Event_ID="x", **web.bearer).status == 400
    assert web.ask("/static/../app.py", **web.bearer).status == 404


def test_metrics_say_what_the_status_says(daemon, web):
    with daemon.client() as client:
        client.step(3, stream="counted")

        def known():
            families = text_string_to_metric_families(web.ask("/metrics", **web.bearer).read().decode())
            return {sample.name: sample for family in families for sample in family.samples}

        wait_for(lambda: known()["streamrnn_frames_total"].value == client.status()["frames"])
        samples, status = known(), client.status()
    assert samples["streamrnn_up"].value == 1
    assert samples["streamrnn_streams"].value == status["streams"]
    assert samples["streamrnn_loss_nats"].value == pytest.approx(status["loss"])
    labels = {label for sample in samples.values() for label in sample.labels}
    assert labels <= {"name", "run", "state", "reason", "worker", "sink"}


def test_without_the_page_there_are_metrics_only(daemon, tmp_path):
    with Web(f"ipc://{daemon.folder}/control", tmp_path, command="metrics") as metrics:
        assert metrics.printed == f"http://127.0.0.1:{metrics.port}/metrics"
        assert metrics.ask("/metrics").status == 401
        assert metrics.ask("/metrics", **metrics.bearer).status == 200
        assert metrics.ask("/", **metrics.bearer).status == 404


def test_a_daemon_that_is_not_there_is_said_to_be_gone(tmp_path):
    with Web(f"ipc://{tmp_path}/nobody", tmp_path) as web:
        kind, _, _ = next(event for event in web.events("/events") if "no daemon answers" in event[2]["trouble"])
        assert kind == "gone"
        assert "streamrnn_up 0.0" in web.ask("/metrics", **web.bearer).read().decode()


def test_other_machines_reach_it_by_tls_only(daemon, tmp_path):
    control = f"ipc://{daemon.folder}/control"
    for host in ("192.0.2.1", "0.0.0.0"):
        refused = subprocess.run(
            [sys.executable, "-m", "streamrnn", "web", "--control", control, "--host", host],
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
        )
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "--certificate" in refused.stderr
    authority = trustme.CA()
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    with Web(control, tmp_path, "--certificate", str(certificate), "--private-key", str(key)) as web:
        request = urllib.request.Request(f"https://127.0.0.1:{web.port}/metrics", headers=web.bearer)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=trusted) as answer:
            assert answer.status == 200
    assert web.token_file.stat().st_mode & 0o777 == 0o600
    web.token_file.chmod(0o644)
    refused = subprocess.run(
        [sys.executable, "-m", "streamrnn", "web", "--token", str(web.token_file)],
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
    )
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_channels_come_with_what_was_said_of_them_before(tmp_path):
    rng = np.random.default_rng(0)
    with Daemon(**GAUSSIAN) as daemon:
        daemon.start()
        with daemon.client() as client, Web(f"ipc://{daemon.folder}/control", tmp_path) as web:
            said = [client.step(x, stream="a") for x in rng.normal(size=(50, 4))]
            events = web.events("/events?stream=a&first=1&count=2")
            found = next(data for kind, _, data in events if kind == "outputs")
            events.close()
            outputs = client.outputs("a", -1, said[-1].seq + 1)
        daemon.stop()
    count = len(found["seq"])
    assert found["seq"] == [output.seq for output in outputs[:count]]
    for k, name in enumerate(["channel 2", "channel 3"]):
        assert found["names"][1 + k] == name
        for row in range(1, count):
            before, now = outputs[row - 1][name], outputs[row][name]
            assert found["value"][k][row] == pytest.approx(now.value, rel=1e-4)
            assert found["surprise"][k][row] == pytest.approx(now.loss, rel=1e-4)
            assert found["prediction"][k][row] == pytest.approx(before.prediction, rel=1e-4)
            assert found["upper"][k][row] == pytest.approx(before.prediction + 1.645 * before.spread, rel=1e-4)
        assert found["prediction"][k][0] is None
    assert isnan(outputs[0].loss)


def test_a_run_has_a_page_that_it_does_not_need():
    with Daemon() as daemon:
        daemon.start("--port", "0")
        (line,) = (line for line in daemon.lines if line.startswith("page"))
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(line.split()[1], timeout=TIMEOUT) as answer:
            assert b"streamrnn" in answer.read()
        end = os.pidfd_open(page_of(daemon).pid)
        page_of(daemon).kill()
        assert have_come([end])
        with daemon.client() as client:
            assert client.step(1).seq == 0
            assert client.status()["recoveries"] == 0
        daemon.stop()


def test_a_page_ends_with_its_daemon_which_may_ask_for_keys():
    with Daemon(source='kind = "none"\n[security]\ncurve = true') as daemon:
        Keys(daemon.folder / "state" / "keys").new("ann", daemon.folder / "ann.key")
        daemon.start("--web")
        (line,) = (line for line in daemon.lines if line.startswith("page"))
        address, _, token = line.split()[1].partition("?token=")
        request = urllib.request.Request(f"{address}metrics", headers={"Authorization": f"Bearer {token}"})

        def answers():
            with urllib.request.urlopen(request, timeout=TIMEOUT) as metrics:
                return b"streamrnn_up 1.0" in metrics.read()

        wait_for(answers)
        daemon.kill()  # sees to it that all its processes have ended


def test_nobody_gets_a_page_who_did_not_ask_for_it_and_has_no_terminal(daemon):
    assert not [line for line in daemon.lines if line.startswith("page")]
    both = daemon.attempt("--no-web", "--open")
    assert both.returncode == 2
    assert "--no-web" in both.stderr


def test_what_its_documentation_shows_is_there():
    text = (DOCS / "page.md").read_text()
    shown = subprocess.run([sys.executable, "-m", "streamrnn", "web", "--help"], capture_output=True, encoding="utf-8")
    run = subprocess.run([sys.executable, "-m", "streamrnn", "run", "--help"], capture_output=True, encoding="utf-8")
    for option in re.findall(r"--[a-z][a-z-]+", text):
        assert option in shown.stdout + run.stdout
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert 10_000 < (DOCS / picture).stat().st_size < 150_000


def page_of(daemon):
    """The page's process."""
    (page,) = (
        process
        for process in psutil.Process(daemon.process.pid).children()
        if "streamrnn.cli.page" in process.cmdline()
    )
    return page
