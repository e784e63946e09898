"""What docs/anomalies.md shows is what happens."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from daemon import TIMEOUT, Daemon, layers

from streamrnn.config import parse

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/anomalies.md").read_text()
BURSTS = 40  # of what is unusual, at most, until both programs have heard of one
CLIENT, SUBSCRIBER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_its_config_is_one_and_its_picture_is_there():
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    sensors = (ROOT / "configs/sensors.toml").read_text()
    config = parse(re.sub(r"\[anomaly\].*?\n\n", table + "\n", sensors, flags=re.DOTALL))
    assert (config.readout.anomaly.day, config.readout.anomaly.alarms_per_day) == (144, 0.1)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", PAGE):
        assert 10_000 < (ROOT / "docs" / picture).stat().st_size < 200_000


def test_its_programs_hear_alarms():
    rng = np.random.default_rng(5)
    with Daemon(
        input='kind = "vector"\nsize = 1\nstandardize = true\nchannels = ["disk write"]',
        readout='kind = "forecast"\nsize = 1\nlags = 5',
        layers=layers("gru 4"),
        learning="window = 1",
        source='kind = "none"\n[anomaly]\nday = 24\nthreshold = 1.5',
    ) as daemon:
        daemon.start()
        codes = [
            CLIENT.replace("sr.Client()", f'sr.Client("ipc://{daemon.folder}/control")'),
            SUBSCRIBER.replace("tcp://127.0.0.1:5702", f"ipc://{daemon.folder}/outputs"),
        ]
        with daemon.client() as client, ThreadPoolExecutor() as readers:
            programs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for code in codes]
            lines = [readers.submit(program.stdout.readline) for program in programs]
            try:
                for _ in range(BURSTS):
                    for value in [*rng.normal(size=150), *rng.normal(size=5) + 50]:
                        client.step([value], stream="nightly")
                    if all(line.done() for line in lines):
                        break
            finally:
                for program in programs:
                    program.kill()
                    program.wait(TIMEOUT)
                    program.stdout.close()
            said = [line.result().decode() for line in lines]
        daemon.stop()
    assert re.match(r"nightly \d+ (begins disk write: |ends the event is over)", said[0])
    assert re.match(r"disk write: |the event is over", said[1])
