"""libzmq and the clock, called from compiled code: the very library that pyzmq has loaded, whose sockets are shared."""

import ctypes
import time
from typing import Any

import llvmlite.binding as llvm
import zmq
from numba import types
from zmq.backend.cython import _zmq

from streamrnn.kernels.jit import DISABLED

POLL_IN = zmq.POLLIN
DONT_WAIT = int(zmq.DONTWAIT)

MONOTONIC = time.CLOCK_MONOTONIC

CTYPES = {types.uintp: ctypes.c_size_t, types.int32: ctypes.c_int32, types.int64: ctypes.c_int64}
_libzmq, _libc = ctypes.CDLL(_zmq.__file__), ctypes.CDLL(None)


def _function(library: ctypes.CDLL, name: str, result: types.Type, *arguments: types.Type) -> Any:
    if DISABLED:
        function = getattr(library, name)
        function.argtypes = [CTYPES[kind] for kind in arguments]
        return lambda *given: function(*map(int, given))
    llvm.add_symbol(name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return types.ExternalFunction(name, result(*arguments))


# int zmq_recv(void *socket, void *buffer, size_t length, int flags): the whole size, even if the buffer is smaller
zmq_recv = _function(_libzmq, "zmq_recv", types.int32, types.uintp, types.uintp, types.uintp, types.int32)
# int zmq_send(void *socket, const void *buffer, size_t length, int flags)
zmq_send = _function(_libzmq, "zmq_send", types.int32, types.uintp, types.uintp, types.uintp, types.int32)
# int zmq_poll(zmq_pollitem_t *items, int count, long timeout_ms)
zmq_poll = _function(_libzmq, "zmq_poll", types.int32, types.uintp, types.int32, types.int64)
# int clock_gettime(clockid_t clock, struct timespec *now): seconds and nanoseconds, two int64
clock_gettime = _function(_libc, "clock_gettime", types.int32, types.int32, types.uintp)
