"""Whatever dies, nothing is lost and nothing counts twice: real daemons, killed."""

import json
import os
import signal
from contextlib import suppress
from itertools import islice

import numpy as np
import pytest
from daemon import TIMEOUT, Daemon, layers, wait_for

import streamrnn as sr
from benchmarks.reliability import chaos
from streamrnn.kernels.messages import RESULT

PARTS = {
    "layers": layers("gru 12", "lstm 8"),
    "learning": "window = 8\ngradient_delay = 1\nclip_norm = 1.0",
    "pipeline": "[supervision]\nheartbeat = 1.0",
}
TEXT = bytes(range(32, 122)) * 4


def network():
    return sr.Network(
        [sr.GRU(256, 12), sr.LSTM(12, 8)],
        sr.Softmax(256),
        sr.Adam(0.002),
        window=8,
        gradient_delay=1,
        clip_norm=1.0,
        predict="next",
    )


def kill(daemon, name, number=signal.SIGKILL):
    daemon.workers()[name].send_signal(number)


def wait_for_checkpoints(daemon, count):
    folder = daemon.folder / "state" / "checkpoints"
    wait_for(lambda: len(list(folder.glob("*/manifest.json"))) >= count)
    return sorted(folder.glob("[0-9]*/manifest.json"))


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=pytest.mark.long)])
def test_frames_come_out_as_if_nothing_had_died(fused):
    found = chaos.run(12_000, 8, seed=1, every=1000, fused=fused)
    assert found["failures in all"] >= 8
    assert found["accepted"] == 12_000
    wrong = (
        "processes left behind",
        "lost",
        "duplicated",
        "reordered",
        "heard again with other bits",
        "other bits than in one process",
    )
    assert [found[name] for name in wrong] == [0] * len(wrong)
    assert found["outputs heard"] > 6000
    assert found["parameters_sha256 as in one process"]


@pytest.mark.parametrize("name", ["gate", "publisher"])
def test_a_step_under_way_when_a_worker_dies_gets_its_output(name):
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start()
        with daemon.client(60.0) as client:
            with pytest.raises(sr.FrameRefused):
                client.step(3, target=3)  # of a daemon that predicts the next
            wait_for(lambda: client.status()["refused"] == 1)
            for k, token in enumerate(TEXT[:60]):
                if k == 37:
                    kill(daemon, name)
                out = client.step(token)
                assert out.y.tobytes() == net.step(token, "main").tobytes()
                assert k == 0 or not np.isnan(out.loss)
            assert (client.status()["recoveries"], client.status()["refused"]) == (1, 1)
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_subscriber_hears_everything_once_although_the_publisher_dies():
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start()
        with daemon.client(60.0) as client, client.subscribe("main", timeout=60.0) as outputs:
            publisher = daemon.workers()["publisher"]
            for k, token in enumerate(TEXT[:300]):
                if k == 150:
                    publisher.kill()
                client.send(token)
            client.flush()
            heard = list(islice(outputs, 300))
            assert outputs.missed == []
        daemon.stop()
    assert [out.y.tobytes() for out in heard] == [net.step(token, "main").tobytes() for token in TEXT[:300]]
    assert not np.isnan([out.loss for out in heard[1:]]).any()


def test_what_was_being_generated_goes_on_as_if_nothing_had_been_stopped():
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start()
        with daemon.client(60.0) as client:
            for token in TEXT[:80]:
                client.step(token)
                net.step(token, "main")
            kill(daemon, "stages-1", signal.SIGSTOP)  # found by its silence, while this client waits
            text = client.generate("a", max_length=300, seed=5, temperature=1.0)
        daemon.stop()
    assert text == net.generate("a", max_length=300, seed=5, temperature=1.0)


@pytest.mark.parametrize(("name", "journal"), [("gate", True), ("stages-1", True), ("publisher", False)])
def test_a_failure_in_the_middle_of_writing_loses_and_doubles_nothing(name, journal):
    source = f'kind = "none"\n[journal]\nenabled = {str(journal).lower()}'
    with Daemon(**PARTS, source=source) as daemon:
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace("[state]", "[state]\ncheckpoint_frames = 50"))
        daemon.start()
        with daemon.client(60.0) as client:
            pid = daemon.workers()[name].pid
            when_heard(client, 200, lambda: os.kill(pid, signal.SIGKILL))
            text = client.generate("a", max_length=1000, seed=5, temperature=1.0)
            assert client.status()["recoveries"] == 1
        daemon.stop()
    assert text == network().generate("a", max_length=1000, seed=5, temperature=1.0)


def when_heard(client, number, act):
    """Act when that many outputs that a request asked for have come."""
    take, heard = client._requests._take_answer, []

    def take_answer(parts):
        kind = take(parts)
        if kind == RESULT:
            heard.append(kind)
            if len(heard) == number:
                act()
        return kind

    client._requests._take_answer = take_answer


def test_what_is_all_in_when_the_daemon_stops_is_still_answered():
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start("--max-frames", "50")
        with daemon.client() as client:
            for token in TEXT[:50]:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
        assert daemon.process.wait(TIMEOUT) == 0


def test_a_damaged_checkpoint_is_found_and_the_one_before_is_used():
    net = network()
    with Daemon(**PARTS, source='kind = "none"') as daemon:
        config = daemon.config.read_text()
        daemon.config.write_text(config.replace("[state]", "[state]\ncheckpoint_frames = 40"))
        daemon.start()
        with daemon.client() as client:
            for number, token in enumerate(TEXT[:300]):
                client.step(token)
                net.step(token, "main")
                if number in (60, 150):
                    wait_for_checkpoints(daemon, 1 + number // 100)
        daemon.process.kill()
        daemon.process.communicate(timeout=TIMEOUT)
        newest = wait_for_checkpoints(daemon, 2)[-1].parent
        file = newest / "stage-1.safetensors"
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(data)
        daemon.lines.clear()
        daemon.start("--resume")
        assert any("damaged" in line and "going back to what was before it" in line for line in daemon.lines)
        with daemon.client() as client:
            for token in TEXT[:60]:
                client.step(token)
                net.step(token, "main")
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_resumed_daemon_counts_the_frames_to_its_next_checkpoint_from_there():
    with Daemon(**PARTS) as daemon:
        daemon.config.write_text(daemon.config.read_text().replace("[state]", "[state]\ncheckpoint_frames = 40"))
        daemon.start()
        with daemon.client() as client:
            for token in TEXT[:100]:
                client.step(token)
        daemon.stop()
        before = daemon.checkpoint()
        daemon.start("--resume")
        with daemon.client() as client:
            for token in TEXT[:60]:
                client.step(token)
        wait_for(lambda: daemon.checkpoint() > before)
        daemon.stop()


def test_where_too_much_is_damaged_the_daemon_says_so_and_does_not_start():
    with Daemon(**PARTS) as daemon:
        for options in ((), ("--resume",)):
            daemon.start(*options)
            with daemon.client() as client:
                for token in TEXT[:30]:
                    client.step(token)
            daemon.stop()
        for manifest in wait_for_checkpoints(daemon, 2):
            manifest.write_text("{}")
        done = daemon.attempt("--resume")
    assert done.returncode == 1
    assert "begins behind the last good checkpoint: what was between is lost" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_a_checkpoint_yet_is_resumed_from_its_journal():
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start()
        for part in (TEXT[:50], TEXT[50:90]):
            with daemon.client() as client:
                for token in part:
                    client.step(token)
                    net.step(token, "main")
            daemon.process.kill()
            daemon.process.communicate(timeout=TIMEOUT)
            daemon.start()
        daemon.stop()
        manifest = json.loads((daemon.checkpoint() / "manifest.json").read_text())
        assert manifest["frames"] == 90
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_new_run_knows_nothing_of_the_one_before():
    with Daemon(**PARTS) as daemon:
        daemon.start()
        with daemon.client() as client:
            for token in TEXT[:50]:
                client.step(token)
        daemon.process.kill()
        daemon.process.communicate(timeout=TIMEOUT)
        daemon.start("--new")
        with daemon.client() as client:
            assert client.status()["streams"] == 0
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == network().parameters_sha256()


def test_a_rate_that_is_changed_while_it_runs_holds_from_there_on_whatever_dies():
    net = network()
    with Daemon(**PARTS) as daemon:
        daemon.start()
        config = daemon.config.read_text()
        with daemon.client(60.0) as client:
            for k, token in enumerate(TEXT[:200]):
                if k in (40, 90, 130):
                    rate = {40: 0.01, 90: 0.0, 130: 0.0005}[k]
                    changed = config.replace("window = 8", f"window = 8\nenabled = {'true' if rate else 'false'}")
                    daemon.config.write_text(changed.replace("0.002", str(rate or 0.002)))
                    daemon.process.send_signal(signal.SIGHUP)
                    wait_for(lambda rate=rate: client.status()["learning_rate"] == rate)
                    net.learning_rate = rate
                if k in (60, 150):
                    kill(daemon, "gate" if k == 60 else "stages-1")
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
        daemon.config.write_text(config)  # with another rate than the one it was saved with
        daemon.start("--resume")
        net.learning_rate = 0.002
        with daemon.client() as client:
            for token in TEXT[:30]:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
        daemon.stop()


def test_a_daemon_that_diverges_goes_back_and_learns_more_slowly():
    """It learns a pattern, then comes noise: the frames since the good checkpoint are taken again at half the rate."""
    calm, noise = list(b"abcd" * 3500), np.random.default_rng(0).integers(256, size=6000).tolist()
    with Daemon(**PARTS | {"pipeline": "[health]\ndivergence = 1.0"}) as daemon:
        config = daemon.config.read_text().replace("[state]", "[state]\nkeep = 50\ncheckpoint_frames = 2500")
        daemon.config.write_text(config)
        daemon.start()
        with daemon.client(60.0) as client:
            for token in [*calm, *noise]:
                client.send(token)
            client.flush()
            wait_for(lambda: client.status()["recoveries"] == 1)
            wait_for(lambda: client.status()["frames"] == len(calm) + len(noise))
            wait_for(lambda: client.status()["learning_rate"] == 0.001)
        printed = daemon.stop()
        assert "streamrnn: the loss has risen from" in printed
        folders = sorted((daemon.folder / "state" / "checkpoints").iterdir())
        manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
        copy = next(k for k, manifest in enumerate(manifests) if manifest["scale"] == 0.5)
        assert 0 < manifests[copy]["frames"] < len(calm) + len(noise) / 2
        net = sr.load(folders[copy])
        assert net.learning_rate == 0.001
        for token in [*calm, *noise][manifests[copy]["score"]["inputs"] :]:
            net.step(token, "main")
        assert sr.load(folders[-1]).parameters_sha256() == net.parameters_sha256()


def test_without_a_journal_a_failure_goes_back_to_the_last_checkpoint_and_the_limit_on_frames_with_it():
    net = network()
    with Daemon(**PARTS, source='kind = "none"\n[journal]\nenabled = false') as daemon:
        daemon.start("--max-frames", "30")
        with daemon.client(60.0) as client, client.subscribe("main", timeout=60.0) as outputs:
            for token in TEXT[:20]:
                client.step(token)
            kill(daemon, "gate")
            wait_for(lambda: (client.status()["recoveries"], client.status()["state"]) == (1, "running"))
            outputs.wait(60.0)  # its line is there again
            for token in TEXT[20:50]:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
            assert [output.seq for output in islice(outputs, 50)] == [*range(20), *range(30)]
        assert daemon.process.wait(TIMEOUT) == 0
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_state_folder_serves_one_daemon_at_a_time():
    with Daemon(**PARTS) as daemon:
        daemon.start()
        second = daemon.attempt("--resume")
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert "is in use: another daemon runs with it" in second.stderr
        daemon.stop()


def test_a_full_journal_refuses_frames_and_goes_on_after_a_checkpoint():
    size, source = 256, 'kind = "none"\n[journal]\nlargest = 1048576'
    parts = {"input": f'kind = "vector"\nsize = {size}', "predict": "target", "layers": layers("rnn 2")}
    with Daemon(**parts, readout='kind = "linear"\nsize = 1', source=source) as daemon:
        daemon.start()
        noise = np.random.default_rng(0)
        with daemon.client() as client:
            reasons, sent = [], 0
            while not reasons and sent < 100_000:  # the gate looks now and then
                sent += 1
                try:
                    client.send(noise.random(size, np.float32))
                except sr.FrameRefused as error:
                    reasons.append(str(error))
            while True:
                try:
                    client.flush()
                    break
                except sr.FrameRefused as error:
                    reasons.append(str(error))
            assert set(reasons) == {"the daemon takes no frames now: the journal holds 1,048,576 bytes, its most"}

            def stepped():
                with suppress(sr.FrameRefused):
                    return client.step(noise.random(size, np.float32)) is not None

            wait_for(stepped)
        daemon.stop()
        manifest = json.loads((daemon.checkpoint() / "manifest.json").read_text())
        assert manifest["frames"] == sent + 1 - len(reasons)


def text_file(daemon, size=3000):
    """A text for the daemon's own source, and the config that reads it."""
    path = daemon.folder / "text"
    path.write_bytes(np.random.default_rng(1).integers(32, 122, size, dtype=np.uint8).tobytes())
    return path, f'kind = "text"\npath = "{path}"\nrate = 400'


def with_source(daemon, source):
    daemon.config.write_text(daemon.config.read_text().replace('kind = "none"', source))


@pytest.mark.long
def test_a_file_between_a_clients_frames_comes_in_the_same_order_again_whatever_dies():
    """Everything dies, twice: outputs that came before have the bits that they would have without."""
    with Daemon(**PARTS) as daemon:
        path, source = text_file(daemon, 2000)  # too short for the live view to draw something meanwhile
        with_source(daemon, source)
        heard = {}
        for turn, options in enumerate(((), ("--resume",), ("--resume",))):
            daemon.start(*options)
            with daemon.client(60.0) as client:
                for token in TEXT[100 * turn : 100 * turn + 100]:
                    client.step(token)
                for stream in ("main", "source"):
                    for output in client.outputs(stream, -1, 10**6):
                        came = stream, output.y.tobytes()
                        assert heard.setdefault(output.seq, came) == came
            if turn < 2:
                daemon.process.kill()
                daemon.process.communicate(timeout=TIMEOUT)
        assert daemon.process.wait(TIMEOUT) == 0
        manifest = json.loads((daemon.checkpoint() / "manifest.json").read_text())
        notes = json.loads((daemon.checkpoint() / "gate.json").read_text())
        assert (notes["sources"], manifest["frames"]) == ({str(path): 2000}, 2300)
        net, streams = network(), {"source": iter(path.read_bytes()), "main": iter(TEXT)}
        assert len(heard) > 600
        for seq in range(len(heard)):
            stream, y = heard[seq]
            assert net.step(next(streams[stream]), stream).tobytes() == y


def killed_while_it_reads(daemon, options=()):
    """A daemon that reads a file, killed when it has read some of it."""
    daemon.start(*options)
    with daemon.client(60.0) as client:
        wait_for(lambda: client.status()["frames"] > 900)
    daemon.process.kill()
    daemon.process.communicate(timeout=TIMEOUT)


@pytest.mark.long
@pytest.mark.parametrize("change", ["another byte", "cut short", "missing", "another source"])
def test_a_file_that_has_changed_since_it_was_read_is_found_out(change):
    with Daemon(**PARTS) as daemon:
        path, source = text_file(daemon)
        with_source(daemon, source)
        killed_while_it_reads(daemon)
        text, config = path.read_bytes(), daemon.config.read_text()
        if change == "another byte":
            path.write_bytes(text[:500] + b"~" + text[501:])
        elif change == "cut short":
            path.write_bytes(text[:500])
        elif change == "missing":
            path.unlink()
        else:
            daemon.config.write_text(config.replace(source, 'kind = "none"'))
        done = daemon.attempt("--resume")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert {"missing": str(path), "another source": "no such source"}.get(change, f"{path}: bytes ") in done.stderr
        if change in ("another byte", "cut short"):
            assert "put the file back as it was" in done.stderr
        path.write_bytes(text)
        daemon.config.write_text(config)
        net = network()
        assert daemon.run("--resume")["frames"] == len(text)
        for token in text:
            net.step(token, "source")
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()


def test_a_file_that_is_read_takes_next_to_no_room_in_the_journal():
    with Daemon(**PARTS) as daemon:
        path = daemon.folder / "text"
        path.write_bytes(np.random.default_rng(1).bytes(20_000))
        with_source(daemon, f'kind = "text"\npath = "{path}"')
        assert daemon.run()["frames"] == 20_000
        journal = (daemon.folder / "state" / "journals").glob("*/*")
        assert 0 < sum(file.stat().st_size for file in journal) < 1000
