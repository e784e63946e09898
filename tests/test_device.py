"""Networks and workers on a device: a simulated one, whose bits are those of the CPU, and none, as on most machines."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from daemon import TIMEOUT, Daemon, layers, wait_for
from device_scenario import everything, gone_on

import streamrnn as sr
from streamrnn.cli.client import status_lines
from streamrnn.config import ConfigError, parse

HERE = Path(__file__).parent
SIMULATED = {"PYTHONPATH": str(HERE / "simulated")}  # in the environment: every process has a simulated device
MISSING = "pip install streamrnn[cuda]" if find_spec("numba_cuda") is None else "no driver or no GPU of NVIDIA is here"
PARTS = {"layers": layers("lstm 3", "gru 3"), "learning": "window = 2\ngradient_delay = 1"}
ON_DEVICE = 'devices = ["cpu", "cuda:0"]\nplacement = [1, 2]'


def network():
    layers = [sr.LSTM(256, 3), sr.GRU(3, 3)]
    return sr.Network(layers, sr.Softmax(256), sr.Adam(0.002), window=2, gradient_delay=1, predict="next")


# --- no device, and what is no device --------------------------------------------------------------------------------


def test_a_device_that_cannot_be_used_is_said_in_a_line():
    for device in ("gpu", "cuda", "cuda:", "cuda:-1", "cuda:01", "CUDA:0"):
        with pytest.raises(sr.DeviceError, match=r'^a device is "cpu", or "cuda:0"'):
            sr.Network([sr.RNN(2, 2)], sr.Softmax(2), sr.SGD(0.1), device=device)
    with pytest.raises(sr.DeviceError) as raised:
        sr.Network([sr.RNN(2, 2)], sr.Softmax(2), sr.SGD(0.1), device="cuda:0")
    assert str(raised.value).startswith("cuda:0: ")
    assert MISSING in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_that_needs_a_device_that_is_not_there_changes_nothing(tmp_path):
    net = sr.Network([sr.RNN(2, 2)], sr.Softmax(2), sr.SGD(0.1))
    net.save(tmp_path / "kept")
    with pytest.raises(sr.DeviceError):
        sr.load(tmp_path / "kept", device="cuda:0")
    assert sr.load(tmp_path / "kept").parameters_sha256() == net.parameters_sha256()
    assert "device" not in net.spec()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_daemon_says_at_once_that_its_device_is_not_there(command):
    with Daemon(**PARTS, pipeline='devices = "cuda:0"') as daemon:
        whole = [sys.executable, "-m", "streamrnn", command, str(daemon.config)]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 1
        assert "cuda:0: " in done.stderr
        assert MISSING in done.stderr.replace("\n", " ")
        assert not (daemon.folder / "state").exists()


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ('devices = ["cpu", "cuda:0"]', r'"pipeline.devices" names 2; there are 3 workers with stages'),
        ('devices = ["cpu", "cuda:0", "gpu"]', r"\"pipeline.devices\" .*not 'gpu'"),
        ('devices = "cuda"', r"\"pipeline.devices\" .*not 'cuda'"),
        ("devices = 1", r"pipeline.devices"),
        ('devices = ["cuda:0", "cpu"]\nplacement = "single"', r"names 2; there are 1 workers"),
    ],
)
def test_devices_are_those_of_the_workers(pipeline, said):
    with Daemon(**PARTS, pipeline=pipeline) as daemon, pytest.raises(ConfigError, match=said):
        parse(daemon.config.read_text())


@pytest.mark.parametrize(
    ("pipeline", "devices"),
    [
        ("", ["cpu"] * 3),
        ('devices = "cuda:1"', ["cuda:1"] * 3),
        (ON_DEVICE, ["cpu", "cuda:0"]),
        ('devices = ["cuda:0"]\nplacement = "single"', ["cuda:0"]),
    ],
)
def test_one_device_is_for_all_workers_and_a_list_for_one_each(pipeline, devices):
    with Daemon(**PARTS, pipeline=pipeline) as daemon:
        assert parse(daemon.config.read_text()).devices == devices


def test_the_page_about_devices_shows_a_config_that_holds():
    page = (HERE.parent / "docs" / "devices.md").read_text()
    shown = re.search(r"```toml\n\[pipeline\]\n(.*?)```", page, re.DOTALL)
    with Daemon(**PARTS, pipeline=shown[1]) as daemon:
        config = parse(daemon.config.read_text())
    assert (config.devices, config.supervision.fallback) == (["cpu", "cuda:0"], "cpu")


# --- a simulated device ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_network_on_a_device_has_the_bits_of_one_on_the_cpu(tmp_path):
    expected = everything("cpu", tmp_path)
    program = HERE / "device_scenario.py"
    done = subprocess.run(
        [sys.executable, program, "cuda:0", tmp_path], capture_output=True, text=True, timeout=2 * TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {name for name in expected if said[name] != expected[name]} == set()
    assert said["loaded from cpu"] == said["loaded from cuda:0"] == expected["tokens: saved"]
    assert all(taken == thought for taken, thought in said["memory"])
    assert gone_on(tmp_path / "cuda:0", "cpu") == expected["tokens: saved"]


@pytest.fixture
def simulated(monkeypatch):
    """Daemons that are started have a simulated device."""
    monkeypatch.setenv("PYTHONPATH", SIMULATED["PYTHONPATH"])


@pytest.mark.long
def test_a_worker_on_a_device_has_the_bits_of_the_cpu_although_it_dies(simulated, monkeypatch):
    net, text = network(), b"abcabdab" * 2
    with Daemon(**PARTS, pipeline='devices = "cuda:0"') as daemon:
        daemon.start()
        with daemon.client(TIMEOUT) as client:
            for k, token in enumerate(text[:12]):
                if k == 7:
                    daemon.workers()["stages-1"].send_signal(signal.SIGKILL)
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
            workers = {worker["name"]: worker for worker in client.status()["workers"]}
            shown = [line for name, line in status_lines(client.status()) if name == "worker"]
            assert ["on cuda:0" in line for line in shown] == [False, True, True, True, False]
            assert client.status()["recoveries"] == 1
        assert [worker["device"] for worker in workers.values()] == ["cpu", *["cuda:0"] * 3, "cpu"]
        assert [worker["device_memory"] > 0 for worker in workers.values()] == [False, True, True, True, False]
        daemon.stop()
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
        monkeypatch.delenv("PYTHONPATH")  # its checkpoint goes on on the CPU
        daemon.config.write_text(daemon.config.read_text().replace("cuda:0", "cpu"))
        daemon.start()
        with daemon.client(TIMEOUT) as client:
            for token in text[12:]:
                assert client.step(token).y.tobytes() == net.step(token, "main").tobytes()
        daemon.stop()


@pytest.mark.long
def test_streams_leave_a_device_and_come_back(simulated):
    net = network()
    with Daemon(**PARTS, pipeline='devices = "cuda:0"\nplacement = [2, 1]\nmax_streams = 1') as daemon:
        daemon.start()
        for name in "abaab":
            with daemon.client(TIMEOUT) as client:
                for token in b"xy":
                    assert client.step(token, stream=name).y.tobytes() == net.step(token, name).tobytes()
        daemon.stop()


@pytest.mark.long
def test_a_worker_whose_device_fails_too_often_goes_on_on_the_cpu(simulated):
    pipeline = ON_DEVICE + '\n[supervision]\nrestarts = 1\nfallback = "cpu"'
    with Daemon(**PARTS, pipeline=pipeline) as daemon:
        daemon.start()
        with daemon.client(TIMEOUT) as client:
            for deaths in (1, 2):
                client.step(ord("a"))
                daemon.workers()["stages-1"].send_signal(signal.SIGKILL)
                wait_for(lambda deaths=deaths: client.status()["recoveries"] == deaths)
                client.step(ord("b"))
            assert [worker["device"] for worker in client.status()["workers"]] == ["cpu"] * 4
        printed = daemon.stop()
    assert "stages-1 goes on on the CPU: it has died too often on cuda:0" in " ".join(printed.split())


def test_no_process_that_others_are_forked_from_has_a_driver():
    program = "import sys\nfrom streamrnn.workers import compilation, gate, publisher, sinks, stages, supervisor\n"
    program += (
        "print(*(name for name in sys.modules if name.endswith(('cuda.compiler', 'cuda.chain', 'cudadrv.driver'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (0, "\n")


def test_a_wrong_index_and_too_little_memory_are_said_in_a_line():
    program = """
from streamrnn.cuda import device
from streamrnn.cuda.compiler import cuda
for name, needed in (("cuda:1", 0), ("cuda:0", 2**21)):
    try:
        type(cuda.current_context()).get_memory_info = lambda _: (2**20, 2**30)
        device.check_room(name, needed)
    except device.DeviceError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | SIMULATED, timeout=TIMEOUT
    )
    index, memory = done.stdout.splitlines()
    assert index == "cuda:1: there is no such GPU here; there is cuda:0"
    assert memory.startswith("cuda:0: 2 MiB of its memory are needed and 1 MiB are free: ")
