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
