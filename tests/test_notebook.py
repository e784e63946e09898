"""The notebook runs from top to bottom, and what it shows is there."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from daemon import TIMEOUT

NOTEBOOK = Path(__file__).parent.parent / "docs/notebook.ipynb"
PIPES = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)

# Runs the cells in one namespace, as a notebook does, and prints what each ends with, as it would show that.
KERNEL = """
import ast, json, sys

def shown(value):
    if hasattr(value, "savefig"):
        value.canvas.draw()
        return f"picture of {[axis.get_ylabel() for axis in value.axes]}"
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)

namespace, said = {}, []
for cell in json.loads(sys.stdin.read()):
    body = ast.parse(cell).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace) if last else None
    said.append(None if value is None else shown(value))
print(json.dumps(said))
"""


def test_the_notebook_runs_and_shows_what_it_says(monkeypatch):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    with tempfile.TemporaryDirectory(prefix="sr-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("MPLBACKEND", "agg")
        monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does
        kernel = subprocess.Popen([sys.executable, "-c", KERNEL], **PIPES, text=True, start_new_session=True)
        try:
            said, errors = kernel.communicate(json.dumps(["".join(cell["source"]) for cell in cells]), TIMEOUT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(kernel.pid, signal.SIGKILL)  # with the daemon, where it has not come to its last cell
            kernel.wait(TIMEOUT)
    assert (kernel.returncode, errors) == (0, "")
    _, network, losses, channel, _, output, client, code = json.loads(said.splitlines()[-1])
    for part in ("<svg", ">GRU<", ">Forecast<", "learning_rate=0.001", "channels: flow, temperature"):
        assert part in network
    assert losses == "picture of ['loss (nats)']"
    assert channel == "picture of ['flow', 'loss (nats)']"
    for part in ("stream pump 1", "frame 500", "<td>flow</td><td>21</td>", "<td>temperature</td><td>62.5</td>"):
        assert part in output
    for part in ("plant at ipc://", "running", "newest outputs of stream pump 1", "<td>500</td>"):
        assert part in client
    assert code == "0"
