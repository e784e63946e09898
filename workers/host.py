"""A process that runs workers: one, or all of a daemon's as its threads."""

import os
from importlib import import_module
from multiprocessing.reduction import DupFd
from threading import Thread
from typing import Any

import zmq

from streamrnn.cuda.device import DeviceError
from streamrnn.protocol.keys import KeysError
from streamrnn.sources import SourceError
from streamrnn.storage.manifest import CheckpointError
from streamrnn.workers import compilation
from streamrnn.workers.worker import Failure, Worker, end_with_parent


class StandardInput:
    """The daemon's own standard input, in whichever process this arrives while that is started."""

    def __getstate__(self) -> Any:
        return DupFd(0)

    def __setstate__(self, passed: Any) -> None:
        self.descriptor = passed.detach()


def run(workers: list[tuple[str, str]], endpoint: str, stdin: StandardInput | None = None) -> None:
    """Run workers, pairs of a module and a name, in this process, each in a thread of its own if there are several.

    `stdin` stands for the daemon's own standard input.
    """
    end_with_parent()
    if stdin:
        os.dup2(stdin.descriptor, 0)
    if len(workers) == 1:
        run_one(*workers[0], endpoint)
        return
    compilation.load()
    with zmq.Context() as shared:
        threads = [Thread(target=run_one, args=(*worker, endpoint, shared), name=worker[1]) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def run_one(module: str, name: str, endpoint: str, shared: zmq.Context | None = None) -> None:
    """Run a worker; a failure is reported to the supervisor in one line."""
    worker = Worker(endpoint, name, shared)
    try:
        import_module(module).main(worker)
    except (Failure, SourceError, CheckpointError, KeysError, DeviceError) as error:
        worker.report("failed", reason=str(error))
    except Exception as error:
        worker.report("failed", reason=f"{name}: {type(error).__name__}: {error}")
        raise
    finally:
        worker.close()
