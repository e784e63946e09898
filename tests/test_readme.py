"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import TIMEOUT, Daemon

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LIBRARY, SEQUENCES, CLIENT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_library_example_learns_and_comes_back(tmp_path):
    code = LIBRARY.replace("/tmp/fox", str(tmp_path / "fox")) + "print(loss, probabilities.sum(), net.loss())"
    loss, total, again = map(float, run(code).split())
    assert loss < 0.2
    assert total == pytest.approx(1, abs=1e-5)
    assert again == loss


def test_the_network_of_the_sequence_example_counts_in_french():
    assert run(SEQUENCES) == "quarante-deux\n"


def test_the_client_example_works_with_the_text_daemon():
    with Daemon() as daemon:
        daemon.config.write_text(
            (ROOT / "configs/text.toml").read_text() + f'[state]\nfolder = "{daemon.folder}/state"\n'
        )
        daemon.start()
        lines = run(CLIENT).split("\n")
        assert float(lines[0]) >= 0
        assert re.fullmatch(r"\d+ \d+ nan", lines[1])
        assert lines[-2] in ("source", "mine", "preview")
        daemon.stop()


@pytest.mark.parametrize("config", sorted(path.name for path in (ROOT / "configs").glob("*.toml")))
def test_every_config_is_in_the_readme_and_can_be_checked(config):
    assert f"`configs/{config}`" in README
    command = [sys.executable, "-m", "streamrnn", "check", str(ROOT / "configs" / config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert "parameters" in done.stdout


def test_every_command_and_option_in_the_readme_is_one():
    shown = ""
    commands = set(re.findall(r"^    streamrnn (\w+)", README, re.MULTILINE))
    for words in ([], *([command] for command in commands)):
        line = [sys.executable, "-m", "streamrnn", *words, "--help"]
        shown += subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    options = set(re.findall(r"--[a-z][a-z-]+", README))
    assert options <= set(re.findall(r"--[a-z][a-z-]+", shown)), options
