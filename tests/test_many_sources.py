"""Several sources of one daemon: each frame once and in order, with the same bits, whatever dies; one that is away."""

import numpy as np
import pytest

import streamrnn as sr
from tests.daemon import TEXT as TOKENS
from tests.daemon import TIMEOUT, Daemon, layers, wait_for

PARTS = {**TOKENS, "layers": layers("gru 16"), "optimizer": 'kind = "adam"\nlearning_rate = 1e-2'}


def network():
    return sr.Network([sr.GRU(256, 16)], readout=sr.Softmax(256), optimizer=sr.Adam(1e-2), window=8, predict="next")


def texts(daemon, *rates, size=1500):
    """Texts of their own for several sources at those rates, by the names of their streams, and the config's tables."""
    found, tables = {}, []
    for k, rate in enumerate(rates):
        path = daemon.folder / f"text {k}"
        path.write_bytes(np.random.default_rng(k).integers(32, 122, size, dtype=np.uint8).tobytes())
        found["source" if not k else f"source {k + 1}"] = path.read_bytes()
        tables.append(f'[[sources]]\nkind = "text"\npath = "{path}"\nrate = {rate}')
    return found, "\n".join(tables)


def with_sources(daemon, tables):
    daemon.config.write_text(daemon.config.read_text().replace('[source]\nkind = "none"', tables))


@pytest.mark.parametrize("placement", ["", 'placement = "single"'])
def test_frames_of_several_files_and_of_a_client_come_in_the_same_order_again(placement):
    with Daemon(**PARTS, pipeline=placement) as daemon:
        streams, tables = texts(daemon, 400, 250, 50)
        with_sources(daemon, tables)
        streams["main"] = bytes(range(32, 122)) * 3
        heard = {}
        for turn in range(3):
            daemon.start("--resume-if-any")
            with daemon.client(60.0) as client:
                for token in streams["main"][90 * turn : 90 * turn + 90]:
                    client.step(token)
                for stream in streams:
                    for output in client.outputs(stream, -1, 10**6):
                        came = stream, output.y.tobytes()
                        assert heard.setdefault(output.seq, came) == came
            if turn < 2:
                daemon.process.kill()
                daemon.process.communicate(timeout=TIMEOUT)
        daemon.stop()
        assert {stream for stream, _ in heard.values()} == set(streams)
        net, left = network(), {name: iter(text) for name, text in streams.items()}
        for seq in range(len(heard)):
            stream, y = heard[seq]
            assert net.step(next(left[stream]), stream).tobytes() == y


def test_a_source_that_is_away_stops_nobody_and_is_taken_up_when_it_is_back():
    with Daemon(**PARTS) as daemon:
        streams, tables = texts(daemon, 0, 0)
        with_sources(daemon, tables)
        path = daemon.folder / "text 1"
        path.rename(daemon.folder / "away")
        daemon.start()
        with daemon.client(60.0) as client:
            wait_for(lambda: client.status()["frames"] == len(streams["source"]))
            here, away = client.status()["sources"]
            assert (here["trouble"], here["ended"]) == ("", True)
            assert away["trouble"].startswith(f"{path}: No such file")
            assert len(client.step(65).y) == 256
            (daemon.folder / "away").rename(path)
            wait_for(lambda: client.status()["frames"] == 2 * len(streams["source"]) + 1)
        assert daemon.process.wait(TIMEOUT) == 0


def test_the_same_source_twice_or_beside_another_table_is_refused():
    with Daemon(**PARTS) as daemon:
        _, tables = texts(daemon, 0)
        config = daemon.config.read_text()
        for text, said in (
            (config.replace('[source]\nkind = "none"', f"{tables}\n{tables}"), "twice"),
            (config.replace('kind = "none"', 'kind = "text"') + tables, "beside [source]"),
            (config.replace('[source]\nkind = "none"', f'{tables}\nstream = "alarms"'), "alarms"),
        ):
            daemon.config.write_text(text)
            done = daemon.attempt()
            assert done.returncode == 2
            assert said in done.stderr


def numbers(path, first, count):
    """A table of that many readings of two channels, a minute apart, from minute `first` of a day on."""
    x = np.random.default_rng(first).normal(size=(count, 2)).cumsum(axis=0)
    times = [f"2024-05-01 {(first + k) // 60:02d}:{(first + k) % 60:02d}:00" for k in range(count)]
    path.write_text("time,a,b\n" + "".join(f"{t},{u!r},{v!r}\n" for t, (u, v) in zip(times, x.tolist(), strict=True)))
    return x


FORECASTS = {
    "input": 'kind = "vector"\nsize = 0\nstandardize = true',
    "readout": 'kind = "forecast"\nsize = 0\nlags = 3',
    "layers": layers("gru 8"),
    "learning": "window = 1",
}


@pytest.mark.parametrize("kills", [False, True])
def test_a_recorded_past_is_learned_before_what_is_live_and_in_the_same_stream(kills):
    with Daemon(**FORECASTS) as daemon:
        past, now = daemon.folder / "past.csv", daemon.folder / "now.csv"
        x = np.vstack([numbers(past, 0, 400), numbers(now, 400, 100)])
        config = daemon.config.read_text().replace('kind = "none"', f'kind = "csv"\npath = "{now}"\nrate = 50')
        daemon.config.write_text(config)
        if kills:
            daemon.start("--backfill", str(past))
            with daemon.client(60.0) as client:
                wait_for(lambda: client.status()["frames"] > 430)
            daemon.process.kill()
            daemon.process.communicate(timeout=TIMEOUT)
            assert daemon.run("--backfill", str(past), "--resume")["frames"] == 500
        else:
            assert daemon.run("--backfill", str(past))["frames"] == 500
        readout = sr.Forecast(2, lags=3)
        net = sr.Network(
            [sr.GRU(2, 8)], readout=readout, optimizer=sr.Adam(0.002), window=1, predict="next", standardize=True
        )
        net.run(x, stream="source")
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
