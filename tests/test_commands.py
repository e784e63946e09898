"""Commands to a running daemon, over the socket in its state folder."""

import pytest
from daemon import TIMEOUT, Daemon, wait_for
from typer.testing import CliRunner

from streamrnn.cli import app
from streamrnn.workers import commands

RUNNER = CliRunner()


def test_a_running_daemon_takes_commands():
    with Daemon() as daemon:
        daemon.start()
        state = daemon.folder / "state"
        taken = RUNNER.invoke(app, ["checkpoints", "take", str(daemon.config)])
        assert (taken.exit_code, taken.output) == (0, "checkpoint 1\n")
        assert daemon.checkpoint().name == "00000001"
        daemon.config.write_text(daemon.config.read_text().replace("0.002", "0.003"))
        assert RUNNER.invoke(app, ["reload", str(daemon.config)]).exit_code == 0
        with daemon.client() as client:
            wait_for(lambda: client.status()["learning_rate"] == 0.003)
        with pytest.raises(ValueError, match="say what to do"):
            commands.ask(state, "dance", 20.0)
        assert RUNNER.invoke(app, ["stop", str(daemon.config)]).exit_code == 0
        assert daemon.process.wait(TIMEOUT) == 0
        with pytest.raises(ConnectionError, match="no daemon answers that runs with"):
            commands.ask(state, "stop", 0.1)
        assert RUNNER.invoke(app, ["stop", str(daemon.config), "--timeout", "0.1"]).exit_code == 1
