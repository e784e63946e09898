"""Programs of others that tests and benchmarks run: installed ones, or what tests/debian.sh has fetched."""

import os
import shutil
import sys
from pathlib import Path


def program(folder: str, *names: str) -> tuple[str, dict[str, str]]:
    """The path of a program by the first of its names that is there, and the environment that it runs in.

    folder: in the virtual environment, where tests/debian.sh puts it.
    """
    beside = Path(sys.prefix) / folder
    for name in names:
        if path := shutil.which(name):
            return path, dict(os.environ)
        for place in ("bin", "sbin", f"lib/{name}"):
            if (path := beside / "usr" / place / name).is_file() and path.read_bytes()[:2] != b"#!":
                libraries = {str(each.parent) for each in (beside / "usr/lib").rglob("*.so*")}
                return str(path), {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}
    raise AssertionError(f"no {names[0]} here: make test-long, or tests/debian.sh {beside} {folder}, brings it along")
