"""The short name of `benchmarks.quality.forecast`."""

import typer

from benchmarks.quality.forecast.__main__ import main

if __name__ == "__main__":
    typer.run(main)
