"""Several sources of one daemon: each frame once and in order, with the same bits, whatever dies; one that is away."""

from datetime import datetime, timedelta
from itertools import count

import numpy as np
import pytest
from daemon import TEXT as TOKENS
from daemon import TIMEOUT, Daemon, layers, wait_for

import streamrnn as sr

PARTS = {**TOKENS, "layers": layers("gru 16"), "optimizer": 'kind = "adam"\nlearning_rate = 1e-2'}


FORECASTS = {
    "input": 'kind = "vector"\nsize = 0\nstandardize = true',
    "readout": 'kind = "forecast"\nsize = 0\nlags = 3',
    "layers": layers("gru 8"),
    "learning": "window = 1",
}


def network():
    readout = sr.Forecast(2, lags=3)
    return sr.Network(
        [sr.GRU(2, 8)], readout=readout, optimizer=sr.Adam(0.002), window=1, predict="next", standardize=True
    )


def numbers(path, first, many):
    """A table of that many readings of two channels, a minute apart, from minute `first` of a day on."""
    x = np.random.default_rng(first).normal(size=(many, 2)).cumsum(axis=0)
    times = [datetime(2024, 5, 1) + timedelta(minutes=first + k) for k in range(many)]
    path.write_text("time,a,b\n" + "".join(f"{t},{u!r},{v!r}\n" for t, (u, v) in zip(times, x.tolist(), strict=True)))
    return x


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


@pytest.mark.parametrize("placement", ["", pytest.param('placement = "single"', marks=pytest.mark.long)])
def test_frames_of_several_files_and_of_a_client_come_in_the_same_order_again(placement):
    with Daemon(**FORECASTS, pipeline=placement) as daemon:
        streams, tables = {"main": np.random.default_rng(9).normal(size=(270, 2))}, []
        for name, rate in (("source", 400), ("b", 250), ("source 3", 50)):
            path = daemon.folder / f"{name}.csv"
            streams[name] = numbers(path, rate, 1000)
            stream = f'\nstream = "{name}"' if name == "b" else ""
            tables.append(f'[[sources]]\nkind = "csv"\npath = "{path}"\nrate = {rate}{stream}')
        with_sources(daemon, "\n".join(tables))
        heard = {}
        for turn in range(3):
            daemon.start("--resume-if-any")
            with daemon.client(60.0) as client:
                for x in streams["main"][90 * turn : 90 * turn + 90]:
                    client.step(x)
                for stream in streams:
                    for output in client.outputs(stream, -1, 10**6):
                        came = stream, output.y.tobytes()
                        assert heard.setdefault(output.seq, came) == came
            if turn < 2:
                daemon.process.kill()
                daemon.process.communicate(timeout=TIMEOUT)
        daemon.stop()
        assert {stream for stream, _ in heard.values()} == set(streams)
        net, left = network(), {name: iter(x) for name, x in streams.items()}
        first_lacking = next(seq for seq in count() if seq not in heard)  # streams were asked one after the other
        assert first_lacking > 1000
        for seq in range(first_lacking):
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
            wait_for(lambda: client.status()["sources"][0]["ended"])
            here, away = client.status()["sources"]
            assert here["trouble"] == ""
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
        net = network()
        net.run(x, stream="source")
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def devices(path, names, count):
    """A table of readings of several devices in any order; what each reads."""
    rng, readings = np.random.default_rng(5), []
    for _ in range(count):
        readings.append((names[rng.integers(len(names))], rng.normal(size=2)))
    rows = (f"{name},{u!r},{v!r}\n" for name, (u, v) in ((name, x.tolist()) for name, x in readings))
    path.write_text("device,a,b\n" + "".join(rows))
    return readings


def of_many(most, evict="idle"):
    return f'max_streams = {most}\nevict = "{evict}"'


@pytest.mark.parametrize(("form", "kills"), [("file", False), ("file", True), ("pipe", False)])
def test_each_device_is_a_stream_of_its_own_and_the_longest_idle_one_makes_room(form, kills):
    """More devices than there is room for: the states of those that go come back with their names."""
    with Daemon(**FORECASTS, pipeline=of_many(3)) as daemon:
        path = daemon.folder / "devices.csv"
        readings = devices(path, ["pump", "valve", "boiler", "fan", "d5", "d6", "d7"], 400)
        where = path if form == "file" else "-"
        columns = '\ncolumns = ["a", "b"]' if form == "pipe" else ""
        rate = "\nrate = 300" if kills else ""
        table = f'kind = "csv"\npath = "{where}"\nkey = "device"{columns}{rate}'
        daemon.config.write_text(
            daemon.config.read_text().replace('kind = "none"', table).replace("size = 0", "size = 2")
        )
        options = ()
        if kills:
            daemon.start()
            with daemon.client(60.0) as client:
                wait_for(lambda: client.status()["frames"] > 150)
            daemon.process.kill()
            daemon.process.communicate(timeout=TIMEOUT)
            options = ("--resume",)
        given = path.read_bytes() if form == "pipe" else None
        assert daemon.run(*options, input=given)["frames"] == len(readings)
        net = network()
        for name, x in readings:
            net.step(x, stream=name)
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_where_none_makes_room_more_devices_are_refused_and_counted():
    with Daemon(**FORECASTS, pipeline=of_many(2, "never")) as daemon:
        path = daemon.folder / "devices.csv"
        readings = devices(path, ["a", "b", "c", "alarms"], 200)
        table = f'kind = "csv"\npath = "{path}"\nkey = "device"\nfollow = true'
        daemon.config.write_text(daemon.config.read_text().replace('kind = "none"', table))
        first = list(dict.fromkeys(name for name, _ in readings if name != "alarms"))[:2]
        taken = sum(name in first for name, _ in readings)
        daemon.start()
        with daemon.client(60.0) as client:
            wait_for(lambda: client.status()["frames"] == taken)
            assert client.status()["passed_over"]["unopened"] == len(readings) - taken
        daemon.stop()


def test_rows_that_are_sorted_in_are_sorted_in_again_after_a_kill():
    with Daemon(**FORECASTS) as daemon:
        path = daemon.folder / "late.csv"
        x = numbers(path, 0, 500)
        heading, *lines = path.read_text().splitlines()
        late = np.argsort(np.arange(500) + np.random.default_rng(2).uniform(0, 12, 500), kind="stable")
        path.write_text("\n".join([heading, *(lines[k] for k in late)]) + "\n")
        table = f'kind = "csv"\npath = "{path}"\norder = "sort"\nwindow = 15\nfollow = true'
        daemon.config.write_text(daemon.config.read_text().replace('kind = "none"', table))
        daemon.start()
        with daemon.client(60.0) as client:
            wait_for(lambda: client.status()["frames"] == 485)  # the last ones wait for those that might be before them
        daemon.process.kill()
        daemon.process.communicate(timeout=TIMEOUT)
        daemon.config.write_text(daemon.config.read_text().replace("\nfollow = true", ""))
        assert daemon.run("--resume")["frames"] == 500
        net = network()
        net.run(x, stream="source")
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_outputs_know_times_and_channels_by_name():
    with Daemon(**FORECASTS) as daemon:
        path = daemon.folder / "now.csv"
        x = numbers(path, 5, 60)
        table = f'kind = "csv"\npath = "{path}"\nfollow = true'
        daemon.config.write_text(daemon.config.read_text().replace('kind = "none"', table))
        daemon.start()
        with daemon.client(60.0) as client:
            wait_for(lambda: client.status()["frames"] == len(x))
            outputs = client.outputs("source", -1, 10**6)
            stepped = client.step({"a": 1.0, "b": 2.0}, stream="mine", time=datetime(2024, 5, 2, 12))
            shown = client.status()["channels"]
        daemon.stop()
    assert [output.when.replace(tzinfo=None) for output in outputs] == [
        datetime(2024, 5, 1) + timedelta(minutes=5 + k) for k in range(len(x))
    ]
    said = np.array(
        [[(o[name].value, o[name].prediction, o[name].lower, o[name].loss) for name in "ab"] for o in outputs]
    )
    np.testing.assert_array_equal(said[1:, :, 0], x[1:])  # the first frame has scored nothing
    assert np.isnan(said[0, :, 0]).all()
    read = sr.Forecast(2, lags=3).read(np.array([output.y for output in outputs]))[1]
    np.testing.assert_array_equal(said[:, :, 1], read.mean)
    np.testing.assert_array_equal(said[:, :, 2], read.lower)
    np.testing.assert_allclose(said[1:, :, 3].sum(axis=1), [output.loss for output in outputs[1:]], rtol=1e-12)
    assert stepped.when.hour == 12
    with pytest.raises(KeyError, match="pressure"):
        stepped["pressure"]
    assert outputs[3][1] == outputs[3].seq
    assert shown["name"] == ["a", "b"]
