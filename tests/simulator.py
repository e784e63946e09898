"""A simulated device, in a process of its own, where threads run in any order that a device might choose.

Numba's simulator gives each thread of a block one of the process, and asks all the time whether they wait. Here one runs
at a time, up to the next barrier, in an order that is drawn: what depends on the order shows, and it takes less time.
"""

import os
import random
import threading

import numpy as np


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

    kernel.BlockManager.run = run
    np.ndindex = drawn  # the blocks of a grid
