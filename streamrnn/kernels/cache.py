"""Where the machine code of kernels is kept on disk.

In a folder named after a hash of the sources that kernels are made of, because Numba by itself does not notice a change
in a function that a cached function calls, or in a constant. It lies in the user's cache, or, where nothing can be
written there, in a folder of the user's own among the temporary ones.
"""

import errno
import hashlib
import logging
import os
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path

KERNELS = Path(__file__).parent
PACKAGE = KERNELS.parent
WORKERS = PACKAGE.parent / "workers"  # in the source tree; installed, the workers lie inside the package
SOURCES = [KERNELS, *(folder / "kernels" for folder in (WORKERS, PACKAGE / "workers"))]
COMPILED = "compiled"  # the folder with a file for each part of the kernels that lies on the disk
FOUND = "STREAMRNN_CACHE"  # in the environment of processes whose parent has found another place: which
FULL = errno.ENOSPC, errno.EDQUOT


def cache_folder() -> Path:
    """The folder of the machine code of exactly these sources, in this place: Numba keeps places apart too."""
    name = sources_digest()
    wanted = wanted_place()
    if fault := fault_of(wanted / name):
        return private_place(wanted, fault) / name
    return wanted / name


def sources_digest() -> str:
    """Of all that kernels are made of, the place where it lies, and Numba's version."""
    digest = hashlib.sha256(f"{version('numba')} {PACKAGE}".encode())
    for path in sorted(path for folder in SOURCES for path in folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def wanted_place() -> Path:
    """The user's cache, as the environment says; a user without a home has none that could be written to."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get(FOUND) or os.environ.get("NUMBA_CACHE_DIR") or os.path.join(home, "streamrnn"))


def fault_of(folder: Path) -> str:
    """Why no machine code can be kept there; "" where it can, or is there already. A full disk is met later."""
    if str(folder).startswith("~"):
        return "this user has no home"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        there = error.errno in FULL or os.path.isdir(folder / COMPILED)
        return "" if there else error.strerror or str(error)


def private_place(wanted: Path, fault: str) -> Path:
    """A temporary folder that only this user can write to; its use is said once, by the first process that meets it."""
    try:
        place = Path(tempfile.gettempdir(), f"streamrnn-{os.geteuid()}")
        place = place if is_made_private(place) else Path(tempfile.mkdtemp(prefix="streamrnn-"))
    except OSError:
        return wanted  # there is no temporary folder either: what is to be kept says so
    os.environ[FOUND] = str(place)
    text = f"compiled kernels are kept in {place}, for {wanted} cannot be used ({fault})"
    logging.getLogger("streamrnn").warning(
        f"{text}; XDG_CACHE_HOME can name another", extra={"event": "cache_elsewhere"}
    )
    return place


def is_made_private(folder: Path) -> bool:
    """Make a folder, if there is none; whether it is this user's alone."""
    folder.mkdir(0o700, exist_ok=True)
    about = folder.lstat()
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


CACHE_FOLDER = cache_folder()
