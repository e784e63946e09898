"""What a notebook shows of networks, outputs and clients, and what `Network.plot` draws."""

import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from math import nan
from xml.etree import ElementTree

import numpy as np
import pytest
from daemon import TIMEOUT, Daemon, layers

import streamrnn as sr
from streamrnn.client.output import About, Output
from streamrnn.model import tables

EVIL = "<img src=x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """The tags of a page, and its text as a browser shows it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.cells, self.text, self.inside = set(), [], "", False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.cells[-1] += data


def network(readout=None, **options):
    settings = {"predict": "next", "standardize": True, "window": 1} | options
    return sr.Network([sr.GRU(2, 3), sr.LSTM(3, 4)], readout or sr.Gaussian(2), sr.Adam(0.01), **settings)


def test_a_network_shows_its_stages_and_a_picture_of_them():
    net = network(channels=["flow", EVIL])
    html = net._repr_html_()
    page = Page(html)
    assert page.tags == {"svg", "rect", "path", "g", "text", "table", "thead", "tbody", "tr", "th", "td", "div"}
    rows = [page.cells[k : k + 4] for k in range(0, 20, 4)]
    assert rows == [
        ["stage", "inputs", "outputs", "parameters"],
        ["GRU", "2", "3", str(net.layers[0].parameters.flat.size)],
        ["LSTM", "3", "4", str(net.layers[1].parameters.flat.size)],
        ["Gaussian", "4", "4", str((4 + 1) * 4)],
        ["total", "", "", str(sum(len(stage.parameters.flat) for stage in net.stages))],
    ]
    for part in ("Adam(learning_rate=0.01", "window 1", "next input", "0 streams", "on cpu", f"channels: flow, {EVIL}"):
        assert part in page.text
    svg = ElementTree.fromstring(html[: html.index("</svg>") + 6])
    assert [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")] == [
        *("vector", "2", "GRU", "3", "LSTM", "4", "Gaussian", "2"),
    ]
    net.learning_rate = 0.005
    net.step([1.0, 2.0], "a")
    assert "learning rate 0.005" in net._repr_html_()
    assert "1 stream ·" in net._repr_html_()


def test_an_output_shows_each_channel_and_names_as_text():
    about = About(["flow", EVIL], tables.Gaussian(size=2))
    y, losses, target = np.array([1.0, 2.0, 0.25, 0.5]), np.array([3.0, nan]), np.array([7.0, nan])
    page = Page(Output(EVIL, 1234, y, 3.0, losses, target, 1_600_000_000 * 10**9, about)._repr_html_())
    assert page.tags == {"table", "thead", "tbody", "tr", "th", "td", "div"}
    assert f"stream {EVIL} · frame 1,234 · loss 3 · 2020-09-13 12:26:40" in page.text
    assert page.cells[7:] == ["flow", "7", "3", "1", "0.25", "–", "–", EVIL, "–", "–", "2", "0.5", "–", "–"]


def test_an_output_of_many_channels_shows_the_first():
    names = [f"c{k}" for k in range(1000)]
    page = Page(Output("", 0, np.zeros(1000), nan, about=About(names, tables.Linear(size=1000)))._repr_html_())
    assert page.cells[-7] == "c23"
    assert "and 976 more channels" in page.text


def test_an_output_shows_the_likeliest_classes():
    y = np.full(256, 0.1 / 253, np.float32)
    y[[ord("<"), 10, 0]] = 0.5, 0.25, 0.15
    page = Page(Output("a", 3, y, nan, about=About([], tables.Softmax(size=256)))._repr_html_())
    assert page.cells[2:8] == ["60 b'<'", "50.0%", r"10 b'\n'", "25.0%", r"0 b'\x00'", "15.0%"]
    few = Output("a", 3, np.array([0.25, 0.75]), nan, about=About([], tables.Softmax(size=2)))
    assert Page(few._repr_html_()).cells[2:] == ["1", "75.0%", "0", "25.0%"]


def test_an_output_of_nobody_shows_its_numbers():
    assert "[0.25 0.75]" in Output("a", 3, np.array([0.25, 0.75]), nan)._repr_html_()


def test_a_client_shows_the_daemon_and_says_what_is_wrong():
    with Daemon(
        input=f"kind = 'vector'\nsize = 1\nchannels = ['''{EVIL[:-1]}''']",
        readout='kind = "linear"\nsize = 1',
        layers=layers("rnn 2"),
    ) as daemon:
        daemon.start()
        client = daemon.client(timeout=TIMEOUT)
        assert "no outputs yet" in client._repr_html_()
        outputs = [client.step([k / 7], stream=EVIL) for k in range(10)]
        page = Page(client._repr_html_())
        assert page.tags == {"table", "thead", "tbody", "tr", "th", "td", "div"}
        assert f"test at ipc://{daemon.folder}/control" in page.text
        assert f"newest outputs of stream {EVIL}" in page.text
        assert f"{EVIL[:-1]}, predicted" in page.cells
        rows = [
            [str(out.seq), "", "–" if np.isnan(out.loss) else f"{out.loss:.4g}", f"{out.y[0]:.4g}"] for out in outputs
        ]
        assert page.cells[-32:] == [cell for row in rows[-8:] for cell in row]
        child = os.fork()
        if not child:
            os._exit("was made in process" not in client._repr_html_())
        assert os.waitpid(child, 0)[1] == 0
        client.timeout = 0.5
        daemon.workers()["publisher"].suspend()
        assert "running" in client._repr_html_()
        assert "no outputs within 0.5 s" in client._repr_html_()
        daemon.kill()
        begin = time.monotonic()
        assert "DaemonGone: no daemon answers at" in client._repr_html_()
        assert time.monotonic() - begin < 5
        client.close()
        assert "this client is closed" in client._repr_html_()


@pytest.fixture
def drawn(monkeypatch):
    """A series of two channels, and what a network said of it."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    X = np.random.default_rng(3).normal([1, 50], [1, 9], (60, 2))

    def draw(net, *, targets=None):
        return X, *net.run(X, targets)

    return draw


def lines(figure):
    return [[line.get_ydata() for line in axis.lines] for axis in figure.axes]


def test_a_plot_shows_forecasts_where_they_hold(drawn):
    net = network(sr.Forecast(2, lags=3), channels=["flow", "$heat"])
    X, Y, losses = drawn(net)
    figure = net.plot(losses, Y, X)
    figure.canvas.draw()  # a name is no formula
    assert [axis.get_ylabel() for axis in figure.axes] == ["flow", r"\$heat", "loss (nats)"]
    said = net.readout.read(Y)[1]
    for k, (mean, value) in enumerate(lines(figure)[:2]):
        np.testing.assert_array_equal(mean, said.mean[:, k])
        np.testing.assert_array_equal(value, X[:, k])
    forecast, value = figure.axes[0].lines
    assert (forecast.get_xdata()[0], value.get_xdata()[0]) == (1, 0)  # what is said of the next frame
    band = figure.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (said.lower[:, 1].min(), said.upper[:, 1].max())
    np.testing.assert_array_equal(lines(figure)[2][0], losses)
    assert [axis.get_ylabel() for axis in net.plot(losses, Y, X, "flow").axes] == ["flow", "loss (nats)"]
    assert [axis.get_ylabel() for axis in net.plot(losses, Y, channel=1).axes] == [r"\$heat", "loss (nats)"]
    assert [axis.get_ylabel() for axis in net.plot(losses).axes] == ["loss (nats)"]


def test_a_plot_of_targets_has_them_beside_what_was_said_of_them(drawn):
    net = network(sr.Gaussian(1), predict="target")
    targets = np.linspace(-1, 1, 60)
    _, Y, losses = drawn(net, targets=targets)
    figure = net.plot(losses, Y, targets)
    forecast, value = figure.axes[0].lines
    assert (forecast.get_xdata()[0], value.get_xdata()[0]) == (0, 0)
    np.testing.assert_array_equal(value.get_ydata(), targets)
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((Y[:, 0] + 1.645 * Y[:, 1]).max())


def test_a_plot_refuses_what_does_not_fit(drawn):
    net = network(channels=["flow", "heat"])
    X, Y, losses = drawn(net)
    for wrong, arguments in {
        "losses are those that run returned": [Y],
        "takes the outputs": [losses, None, X],
        "60 losses need outputs": [losses, Y[1:]],
        "60 losses need targets": [losses, Y, X[:, :1]],
        "there is no channel 'cold': there are flow, heat": [losses, Y, X, "cold"],
        "there is no channel 2": [losses, Y, X, 2],
    }.items():
        with pytest.raises(ValueError, match=wrong):
            net.plot(*arguments)
    text = sr.Network([sr.RNN(8, 4)], sr.Softmax(8), sr.SGD(0.1), predict="next")
    Y, losses = text.run(np.arange(60) % 8)
    text.plot(losses)
    with pytest.raises(ValueError, match="which have no channels"):
        text.plot(losses, Y)


def test_without_matplotlib_a_plot_says_what_to_install_and_nothing_else_needs_it():
    code = """
import sys
sys.modules["matplotlib"] = None
import streamrnn as sr
net = sr.Network([sr.RNN(8, 4)], sr.Softmax(8), sr.SGD(0.1))
net._repr_html_()
try:
    net.plot([1.0])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert "pip install streamrnn[plot]" in done.stdout
