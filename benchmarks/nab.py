"""The short name of `benchmarks.quality.anomaly.nab`."""

import typer

from benchmarks.quality.anomaly.nab import main

if __name__ == "__main__":
    typer.run(main)
