"""The client for programs that wait for each call: threads that share one have their calls done one after another."""

import os
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from threading import RLock
from typing import Any, TypeVar

from streamrnn.client import client_view
from streamrnn.client.alarms import Alarms
from streamrnn.client.control import CONTROL
from streamrnn.client.core import Core, performing
from streamrnn.client.lines import Lines, at_once
from streamrnn.client.output import Output
from streamrnn.client.source import Source
from streamrnn.client.subscription import Subscription
from streamrnn.client.turns import blocking, check_process
from streamrnn.protocol.keys import load

T = TypeVar("T")


class Client(Core):
    """A connection to a running daemon, found by the address of its control socket.

    timeout is in seconds and holds for every call. A client does not outlive a fork: in the child each call but `close`
    raises RuntimeError. key: the file that `streamrnn keys new` has made for this client,
    where the daemon asks for one. Raises DaemonGone if nobody answers there, KeysError if the file cannot be used.
    """

    def __init__(self, control: str = CONTROL, timeout: float = 5.0, key: str | os.PathLike[str] | None = None) -> None:
        super().__init__(Lines(load(key) if key else None), control, timeout)
        self._lock = RLock()
        try:
            self._do(self._connect)
        except BaseException:
            self._lines.close(0)
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; frames that were sent still go out. In a forked process it does nothing."""
        if os.getpid() == self._process:
            with self._lock:
                self._say_goodbye()
                self._lines.close()

    status = blocking(Core._status)
    send = blocking(Core._send)
    send_many = blocking(Core._send_many)
    flush = blocking(Core._flush)
    step = blocking(Core._step)
    outputs = blocking(Core._outputs)
    messages = blocking(Core._messages)
    streams = blocking(Core._streams)
    dismiss = blocking(Core._dismiss)
    reset = blocking(Core._reset)
    forget = blocking(Core._forget)
    classify = blocking(performing(Core._classify))
    label = blocking(performing(Core._label))
    generate = blocking(performing(Core._generate))
    transduce = blocking(performing(Core._transduce))
    teach = blocking(performing(Core._teach))

    def _repr_html_(self) -> str:
        return client_view.html(self)

    def subscribe(self, stream: str | None = None, timeout: float | None = None) -> Subscription:
        """Every output of that stream, of all streams without one, from the moment this call returns.

        Each stream's outputs come in their order; those of different streams may overtake one another.
        The timeout, in seconds, is of the iteration: without one it waits for ever. Raises DaemonGone.
        """
        return self._listen(Subscription, stream, timeout)

    def alarms(self, stream: str | None = None, timeout: float | None = None) -> Alarms:
        """Every alarm of that stream, of all streams without one, from the moment this call returns, see `subscribe`.

        Raises ValueError where the daemon has no [anomaly], DaemonGone.
        """
        return Alarms(self._listen(Subscription, stream, timeout, True), self._alarm)

    def stream(
        self, frames: Iterable[Any], targets: Iterable[Any] | None = None, stream: str = "main", learn: bool = True
    ) -> Iterator[Output]:
        """Send the frames of an iterable as `step` would, many before the first output is waited for, and give their
        outputs in order, one for each.

        The iterable is taken from as its frames find room, so it may be endless. Frames that come quickly go many to a
        message; one that comes alone has its output given before the next is taken. An error of the iterable, or a
        frame that does not fit, is raised when the outputs before it have been given. Nobody else should send to that
        stream meanwhile. If it is left early, or a frame is refused, some of those behind have been sent already.
        Raises ValueError, FrameRefused, DaemonGone.
        """
        way = self._open(stream, learn)
        source = Source(frames, targets, self._control.now)
        try:
            while not source.is_over:
                taken = source.take(way.most)
                self._do(partial(way.put, taken))
                source.is_over |= way.error is not None
                wait = source.is_over or len(taken) == 1
                while heard := self._do(partial(way.heard, wait)):
                    yield from heard
            if error := way.error or source.error:
                raise error
        finally:
            way.close()

    _listen = blocking(Core._subscribe)
    _open = blocking(Core._pipeline)

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises RuntimeError in a forked process."""
        check_process(self._process)  # first: in a fork, the lock may be held for ever
        with self._lock:
            return at_once(work())
