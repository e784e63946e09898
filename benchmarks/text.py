"""What one pass over a text teaches, and how fast: `python -m benchmarks.text FILE [BYTES]`.

Runs configs/text.toml over the first BYTES (400,000) of FILE, as a pipeline and fused into one process, and prints
bits per byte over all and over the last 100,000, bytes per second, and whether both came to the same parameters.
"""

import sys

from rich.console import Console
from rich.table import Table

from benchmarks.daemon import TEXT, learn


def main(path: str, count: int = 400_000) -> None:
    """Print the table."""

    def run(frames: int, *options: str) -> dict:
        return learn(TEXT.read_text(), "--source", path, "--max-frames", str(frames), *options)

    table = Table("", "bytes", "bits/byte", "last 100,000", "bytes/s", "parameters", title=f"one pass over {path}")
    shas = set()
    for name, options in {"pipeline": [], "fused": ["--fused"]}.items():
        run(1000, *options)  # compiles what is not compiled yet
        found = run(count, *options)
        bits = found["bits_per_symbol"], found["bits_per_symbol_of_last_100000"]
        sha = found["parameters_sha256"]
        rate = f"{found['frames_per_second']:,.0f}"
        table.add_row(name, f"{found['frames']:,}", *(f"{value:.3f}" for value in bits), rate, sha[:16])
        shas.add(sha)
    Console().print(table)
    print("the same parameters to the bit" if len(shas) == 1 else "THE PARAMETERS DIFFER")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
