"""CommandSocket to a running daemon, over the socket in its state folder."""

import pytest
from daemon import TIMEOUT, Daemon, wait_for
from typer.testing import CliRunner

from streamrnn.cli.main import app
from streamrnn.workers.supervision import command_socket as commands

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


def test_a_checkpoint_that_cannot_be_written_is_said_and_stops_nothing():
    with Daemon() as daemon:
        daemon.start()
        state, folder = daemon.folder / "state", daemon.folder / "state" / "checkpoints"
        with daemon.client() as client:
            client.step(65)
            folder.rmdir()
            folder.touch()  # no place for folders
            with pytest.raises(ValueError, match="File exists"):
                commands.ask(state, "checkpoint", 20.0)
            client.step(66)
            folder.unlink()
            folder.mkdir()
            assert commands.ask(state, "checkpoint", 20.0) == "checkpoint 2"
            client.step(67)
            assert client.status()["recoveries"] == 0
        printed = daemon.stop()
    assert "streamrnn: checkpoint 1 could not be written" in printed
