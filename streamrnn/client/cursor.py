"""The outputs of all streams from a place on, as the daemon's history has them: what a sink reads.

One place says how far a reader is in all streams, also in those that it has never heard of. So after any death of the
reader or of the daemon what lies between can be asked for, and what is no longer there is known.
"""

from typing import Any, NamedTuple

import numpy as np
import zmq

from streamrnn.client.control import ask
from streamrnn.client.history import BEHIND_ALL
from streamrnn.client.lines import Line, at_once
from streamrnn.client.output import Output, outputs_of
from streamrnn.kernels.frames import STREAM, places
from streamrnn.protocol.wire import Message, emits, unpack

REACH = 2000  # places within which what a frame has scored may wait for the output that says it


class Part(NamedTuple):
    """The next outputs."""

    run: str  # that the SEQs are of
    outputs: list[Output]  # in the order of their SEQs
    missed: range  # SEQs before them that are no longer to be had


class Cursor:
    """Reads on a control socket of its own. Places are those of `streamrnn.kernels.frames.places`.

    safe  the place from which on another one must read to say the same of all outputs that are still to come: what a
          frame has scored may lie before its output
    """

    def __init__(self, socket: zmq.Socket) -> None:
        self._line = Line(socket)
        self._place = self.safe = BEHIND_ALL
        self._scored: dict[int, np.ndarray] = {}  # by stream number: losses whose output has not come,
        self._since: dict[int, int] = {}  # and a place before them

    def beginning(self, timeout: float) -> tuple[str, int] | None:
        """The run, and the place from which on a reader without one is to read; None if nobody answers in time."""
        answer = self._ask(BEHIND_ALL, False, timeout)
        return (answer[0]["run"], answer[0]["begins"]) if answer else None

    def go_to(self, place: int) -> None:
        """Read from there on."""
        self._place = self.safe = place

    def read(self, timeout: float, wait: bool = True) -> Part | None:
        """What comes next; None if nothing does within `timeout` seconds.

        wait: without it, and where nothing is there, it is empty.
        """
        answer = self._ask(self._place, wait, timeout)
        if not answer:
            return None
        facts, data = answer
        gone, missed = facts["gone"], range(0)
        if gone > self._place:
            missed = range((self._place + 1) // 2, (gone + 1) // 2)  # a frame's last row is the one with its output
            self._place = gone
        outputs: list[Output] = []
        for names, part in zip(facts["names"], data, strict=True):
            self._take(unpack(part), {int(number): name for number, name in names.items()}, outputs)
        self.safe = max(min([self._place, *self._since.values()]), self._place - REACH)
        return Part(facts["run"], outputs, missed)

    def close(self) -> None:
        """Close the socket."""
        self._line.close()

    def _take(self, message: Message, names: dict[int, str], outputs: list[Output]) -> None:
        outputs += outputs_of(names, message, self._place, self._scored)
        first, last = places(message.frames[[0, -1]]).tolist()
        said = set(message.frames[emits(message), STREAM].tolist())
        kept = {number: place for number, place in self._since.items() if number not in said}
        self._since = {number: kept.get(number, first - 1) for number in self._scored}
        self._place = max(self._place, last)

    def _ask(self, after: int, wait: bool, timeout: float) -> tuple[dict[str, Any], list[bytes]] | None:
        answer = at_once(ask(self._line, {"ask": "history", "after": after, "wait": wait}, timeout))
        return answer if answer and "run" in answer[0] else None
