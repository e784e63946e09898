"""What a command prints for other programs: JSON, one object a line."""

import sys
from typing import Annotated, Any

import msgspec
import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def print_json(value: Any) -> None:
    """One object on a line of its own, out at once; JSON is UTF-8, whatever a terminal can show."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()
