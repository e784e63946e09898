"""What one pass over a text teaches, and how fast: `python -m benchmarks.text FILE [BYTES]`.

Runs configs/text.toml over the first BYTES (400,000) of FILE, as a pipeline and fused into one process, and prints
bits per byte over all and over the last 100,000, bytes per second, and whether both came to the same parameters.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONFIG = Path(__file__).parent.parent / "configs" / "text.toml"


def learn(text: bytes, *options: str) -> dict:
    """What `--json` says of a run over that text, with a state folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").write_bytes(text)
        command = [sys.executable, "-m", "streamrnn", "run", str(CONFIG), "--source", str(folder / "text")]
        command += ["--quiet", "--json", str(folder / "out.json"), *options]
        subprocess.run(command, env={**os.environ, "XDG_STATE_HOME": name}, check=True)
        return json.loads((folder / "out.json").read_text())


def main(path: str, count: int = 400_000) -> None:
    """Print the table."""
    text = Path(path).read_bytes()[:count]
    learn(text[:1000])  # compiles what is not compiled yet
    learn(text[:1000], "--fused")
    table = Table("", "bytes", "bits/byte", "last 100,000", "bytes/s", "parameters", title=f"one pass over {path}")
    runs = {"pipeline": learn(text), "fused": learn(text, "--fused")}
    for name, run in runs.items():
        bits = run["bits_per_symbol"], run["bits_per_symbol_of_last_100000"]
        table.add_row(
            name,
            f"{run['frames']:,}",
            *(f"{value:.3f}" for value in bits),
            f"{run['frames_per_second']:,.0f}",
            run["parameters_sha256"][:16],
        )
    Console().print(table)
    same = len({run["parameters_sha256"] for run in runs.values()}) == 1
    print("the same parameters to the bit" if same else "THE PARAMETERS DIFFER")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
