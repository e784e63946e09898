"""The page in a real Chromium, and its metrics in a real Prometheus."""

import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from daemon import TIMEOUT, Daemon, wait_for
from page import Web
from playwright.sync_api import expect, sync_playwright

from benchmarks.shared.programs import program

pytestmark = pytest.mark.long

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
MOVES = 2000  # milliseconds within which what is live has moved
PATIENCE = 60_000  # milliseconds
HOSTILE = "<img src=x onerror=document.title='taken'>"
SOURCE = 'kind = "text"\npasses = 0\nrate = 2000'
READ = "address => fetch(address, {credentials: 'include'}).then(() => 'read', () => 'kept out')"
RUN = """address => new Promise(done => {
    const script = document.createElement("script");
    Object.assign(script, {src: address, onload: () => done("ran"), onerror: () => done("kept out")});
    document.body.append(script);
})"""
DASHBOARD = Path(__file__).parents[1] / "configs" / "grafana.json"


@pytest.fixture(scope="module")
def browser():
    path, environment = program("chromium", "chromium")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=ARGUMENTS, env=environment)
        yield chromium
        chromium.close()


@pytest.fixture
def daemon():
    with Daemon(source=SOURCE) as running:
        running.start("--port", "0")
        yield running
        running.stop()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    yield page
    context.close()


def address(daemon):
    (line,) = (line for line in daemon.lines if line.startswith("page"))
    return line.split()[1]


def open_page(page, daemon):
    page.goto(address(daemon))
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)


def test_curves_move_and_a_reload_keeps_the_view(page, daemon):
    open_page(page, daemon)
    assert "token" not in page.url
    expect(page.locator("#text")).to_have_text(re.compile(r"\w{3}"), timeout=PATIENCE)
    before = page.locator("#figure-frames").inner_text()
    drawn = page.locator("#rate canvas").screenshot()
    page.wait_for_timeout(MOVES)
    assert page.locator("#figure-frames").inner_text() != before
    assert page.locator("#rate canvas").screenshot() != drawn
    page.locator("#range").select_option("recent")
    page.reload()
    expect(page.locator("#range")).to_have_value("recent")
    expect(page.locator("#stream")).to_have_value("source")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.faults == []


def test_a_killed_worker_shows_as_recovering_and_then_as_well(page, daemon):
    open_page(page, daemon)
    page.evaluate(
        "() => { window.seen = []; new MutationObserver(() => window.seen.push(document.getElementById('state')"
        ".dataset.state)).observe(document.getElementById('state'), {attributes: true}); }"
    )
    daemon.workers()["stages-0"].kill()
    expect(page.locator("#events")).to_contain_text("recovery 1", timeout=PATIENCE)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE)
    assert {"recovering", "catching up"} & set(page.evaluate("window.seen"))
    before = page.locator("#figure-frames").inner_text()
    expect(page.locator("#figure-frames")).not_to_have_text(before, timeout=PATIENCE)


def test_without_the_token_nothing_is_shown(page, daemon):
    root = address(daemon).partition("?")[0]
    answer = page.goto(root)
    assert answer.status == 401
    assert daemon.folder.name not in page.content()
    assert page.locator("script").count() == 0


def test_another_site_of_this_machine_gets_nothing(page, daemon, tmp_path):
    open_page(page, daemon)  # the cookie is there
    root = address(daemon).partition("?")[0]
    (tmp_path / "index.html").write_text("<p>another site</p>")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["python3", "-m", "http.server", "-b", "127.0.0.1", "-d", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(port))
        page.goto(f"http://127.0.0.1:{port}/")
        assert page.evaluate(READ, f"{root}metrics") == "kept out"
        assert page.evaluate(RUN, f"{root}static/app.js") == "kept out"
    finally:
        server.kill()
        server.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_stream_is_found_by_typing_and_a_hostile_name_is_text(page, daemon):
    with daemon.client() as client:
        for token in b"<b>bold</b>":
            client.step(token, stream=HOSTILE)
    open_page(page, daemon)
    page.keyboard.press("/")
    page.keyboard.type("onerr")
    option = page.locator("#streams option")
    expect(option).to_have_count(1, timeout=PATIENCE)
    assert option.get_attribute("value") == HOSTILE
    page.locator("#stream").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_text(re.compile("b>bold</b>"), timeout=PATIENCE)
    page.reload()
    expect(page.locator("#text")).to_have_text(re.compile("b>bold</b>"), timeout=PATIENCE)
    assert page.locator("img, b").count() == 0
    assert "taken" not in page.title()
    assert page.faults == []


def test_prometheus_scrapes_what_the_dashboard_shows(tmp_path):
    prometheus, environment = program("prometheus", "prometheus")
    promtool, _ = program("prometheus", "promtool")
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    with Daemon(source=SOURCE) as daemon:
        daemon.start()
        with Web(f"ipc://{daemon.folder}/control", tmp_path, command="metrics") as metrics:
            text = metrics.ask("/metrics", **metrics.bearer).read()
            lint = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, env=environment)
            assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            config = tmp_path / "prometheus.yml"
            config.write_text(SCRAPE.format(token=metrics.token_file, port=metrics.port))
            subprocess.run([promtool, "check", "config", config], check=True, capture_output=True, env=environment)
            options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data"]
            server = subprocess.Popen(
                [prometheus, *options, f"--web.listen-address=127.0.0.1:{port}"],
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            try:
                wait_for(lambda: answers(port))
                wait_for(lambda: len(result(port, "streamrnn_frames_total")) == 1)
                wait_for(lambda: len(result(port, "rate(streamrnn_frames_total[1m])")) == 1)
                for query in queries:
                    query = query.replace("$instance", ".*")
                    assert result(port, query) or "checkpoint" in query, query
            finally:
                server.kill()
                server.wait()
        daemon.stop()


def result(port, query):
    """What Prometheus answers to a query."""
    asked = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{asked}", timeout=TIMEOUT) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.URLError as error:
        if getattr(error, "code", 0) == 503:  # it is starting
            return []
        raise


SCRAPE = """
scrape_configs:
  - job_name: streamrnn
    scrape_interval: 1s
    authorization:
      credentials_file: {token}
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""
