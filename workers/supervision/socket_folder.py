"""Where the sockets between a daemon's own processes lie: in a short folder, only its user's, that is made when needed.

The path of a Unix socket ends at 107 bytes, and systems clean their temporary folders. So it is $XDG_RUNTIME_DIR,
which is short and private; else the state folder; only where its path is too long, /tmp. The name is made of the state
folder's: what a killed daemon has left is found by the next one.
"""

import multiprocessing
import os
import shutil
import stat
from contextlib import suppress
from hashlib import sha256
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from streamrnn.storage import private
from streamrnn.workers.worker import Failure

LONGEST_PATH = 107  # bytes of a Unix socket's path
LONGEST_NAME = len("/1234567890/gradients-1024")  # of a socket in the folder, and of its epoch


def folder_for(state: Path) -> Path:
    """Where the sockets of the daemon with that state folder lie."""
    state = state.resolve()
    name = f"streamrnn-{sha256(os.fsencode(state)).hexdigest()[:16]}"
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    places = [runtime / name] if is_private(runtime) else []
    places += [state / "sockets", Path("/tmp", name)]
    return next(place for place in places if len(os.fsencode(place)) + LONGEST_NAME <= LONGEST_PATH)


def is_private(folder: Path) -> bool:
    """Whether it is an absolute path to a folder that nobody else may write to."""
    try:
        about = folder.stat()
    except OSError:
        return False
    others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder.is_absolute() and stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not others


def make_anew(folder: Path, epoch: int) -> Path:
    """A folder in it for the sockets of that epoch; those of epochs before are removed. Raises Failure."""
    for old in folder.glob("[0-9]*"):
        shutil.rmtree(old, ignore_errors=True)
    try:
        if folder.is_symlink():
            raise PermissionError(f"{folder} is a link")
        private.make_folder(folder)
        made = folder / str(epoch)
        made.mkdir(0o700)
        house_forkserver(folder)
    except OSError as error:
        raise Failure(f"no folder for the daemon's sockets: {error}; $XDG_RUNTIME_DIR can name another place") from None
    return made


def house_forkserver(folder: Path) -> None:
    """Have the process that workers are forked from listen in there instead of the temporary folder.

    Where its socket is gone, it is ended, and started again with the next worker. The library offers neither publicly.
    """
    process: Any = multiprocessing.current_process()
    process._config["tempdir"] = str(folder)
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_address and not os.path.exists(server._forkserver_address):
        with suppress(FileNotFoundError):  # it removes the socket as the last thing
            server._stop()
