"""A simulated device, in a process of its own, where threads run in any order that a device might choose.

Numba's simulator has a thread of the process for each of a block, and asks all the time whether they wait. Here one
runs at a time, up to the next barrier, in an order that is drawn: what depends on the order shows, and it is quicker.
"""

import os
import random
import threading

import numpy as np

LAUNCHED: dict[str, set] = {}  # by kernel, the types of what it was launched with


def type_of(argument):
    """What `device_code.py` makes a type of: of a number its name; of an array also its dimensions and layout."""
    from numba import typeof

    if isinstance(argument, tuple):  # a table of stages, which elsewhere is one of addresses
        return "int64", 2, "C"
    kind = typeof(getattr(argument, "_ary", argument))
    return (kind.dtype.name, kind.ndim, kind.layout) if hasattr(kind, "layout") else kind.name


def start(seed: int) -> None:
    """To be called before anything imports Numba."""
    os.environ.update(NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
    from numba.cuda.simulator import kernel

    chance, in_order = random.Random(seed), np.ndindex

    class Thread(threading.Thread):
        """One of a block: `go_on` has it run up to the next barrier or its end."""

        def __init__(self, work, block, place, shape):
            super().__init__(daemon=True)
            self.work, self.ended, self.error = work, False, None
            self.blockIdx, self.threadIdx = kernel.Dim3(*block), kernel.Dim3(*place)
            self.thread_id = place[0] + shape[0] * (place[1] + shape[1] * place[2])
            self.turn, self.done = threading.Semaphore(0), threading.Semaphore(0)

        def run(self):
            self.turn.acquire()
            try:
                self.work()
            except BaseException as error:
                self.error = error
            self.ended = True
            self.done.release()

        def syncthreads(self):
            self.done.release()
            self.turn.acquire()

        def go_on(self):
            self.turn.release()
            self.done.acquire()
            if self.error:
                raise self.error

    def drawn(*shape):
        """The places of a grid."""
        places = list(in_order(*shape))
        chance.shuffle(places)
        return places

    def run(self, block, *arguments):
        if "syncthreads" in self._f.__code__.co_names:
            threads = [
                Thread(lambda: self._f(*arguments), block, place, self._block_dim) for place in drawn(*self._block_dim)
            ]
            for thread in threads:
                thread.start()
            while threads:
                chance.shuffle(threads)
                for thread in threads:
                    thread.go_on()
                threads = [thread for thread in threads if not thread.ended]
            return
        here = threading.current_thread()
        here.blockIdx = kernel.Dim3(*block)
        for place in drawn(*self._block_dim):
            here.threadIdx = kernel.Dim3(*place)
            self._f(*arguments)

    call = kernel.FakeCUDAKernel.__call__

    def launch(self, *arguments):
        if not self._device:
            name = f"{self.fn.__module__}.{self.fn.__qualname__}"
            LAUNCHED.setdefault(name, set()).add(tuple(map(type_of, arguments)))
        return call(self, *arguments)

    kernel.FakeCUDAKernel.__call__ = launch
    kernel.BlockManager.run = run
    np.ndindex = drawn  # the blocks of a grid
