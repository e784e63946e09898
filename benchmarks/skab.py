"""The short name of `benchmarks.quality.anomaly.skab`."""

import typer

from benchmarks.quality.anomaly.skab import main

if __name__ == "__main__":
    typer.run(main)
