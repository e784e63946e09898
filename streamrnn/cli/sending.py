"""What `streamrnn send` sends: the bytes of a text, or lines of numbers, as they come.

What there is goes out at once, many frames to a message, and is accepted before more is waited for.
"""

import io
import itertools
import select
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import streamrnn as sr

CHUNK = 1 << 16  # most bytes read at once
BYTE_ORDER_MARK = "\ufeff"


class Sender:
    """Sends frames on a stream of a daemon; errors say in which line they are, and how many frames were accepted."""

    def __init__(self, client: "sr.Client", stream: str) -> None:
        self.client, self.stream = client, stream
        self._sent = 0  # frames
        self._blocks: deque[tuple[int, Callable[[int], int]]] = deque()  # of frames before, and the line of each

    def send(self, text: bytes | None) -> None:
        """That text, or what comes on standard input. Raises ValueError, FrameRefused, DaemonGone."""
        with self._told():
            pieces = [text] if text is not None else standard_input()
            for xs, targets, line in byte_blocks(pieces) if self.client.takes_tokens else number_blocks(pieces):
                if xs:
                    self._send_block(xs, targets, line)
                else:
                    self.client.flush()
            self.client.flush()

    def _send_block(self, xs: Sequence[Any], targets: list[Any] | None, line: Callable[[int], int]) -> None:
        """Frames that came together; where they do not fit, one by one, up to the one that does not."""
        while self._blocks and self._blocks[0][0] + CHUNK < self.client.accepted:
            self._blocks.popleft()
        self._blocks.append((self._sent, line))
        try:
            self.client.send_many(xs, targets, self.stream)
        except sr.FrameRefused:
            raise
        except ValueError:
            for k in range(len(xs)):
                try:
                    self.client.send_many(xs[k : k + 1], targets and targets[k : k + 1], self.stream)
                except sr.FrameRefused:
                    raise
                except ValueError as error:
                    raise ValueError(f"line {line(k)}: {error}") from None
        self._sent += len(xs)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong says how many frames were accepted, those that were under way then too."""
        try:
            yield
        except sr.DaemonGone as error:
            raise sr.DaemonGone(f"{error}; {self._accepted}") from None
        except sr.FrameRefused as error:
            self._settle()
            raise sr.FrameRefused(f"line {self._line_of(error.before)}: {error}; {self._accepted}") from None
        except ValueError as error:
            self._settle()
            raise ValueError(f"{error}; {self._accepted}") from None

    def _settle(self) -> None:
        """Wait for what is under way, whatever becomes of it."""
        with suppress(sr.DaemonGone):
            while True:
                with suppress(sr.FrameRefused):
                    self.client.flush()
                    return

    def _line_of(self, frame: int) -> int:
        first, line = next(block for block in reversed(self._blocks) if block[0] <= frame)
        return line(frame - first)

    @property
    def _accepted(self) -> str:
        return f"{self.client.accepted:,} frames were accepted"


def standard_input() -> Iterator[bytes]:
    """What comes, and an empty piece where there is no more for now. Raises ValueError where it is closed."""
    if sys.stdin is None:
        raise ValueError("standard input is closed: give a text, or open it")
    stream: Any = sys.stdin.buffer
    while True:
        if not is_ready(stream):
            yield b""
        piece = stream.read1(CHUNK)
        if not piece:
            return
        yield piece


def is_ready(stream: Any) -> bool:
    """Whether there is something to be read, or its end."""
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:
        return True
    return bool(select.select([descriptor], [], [], 0)[0])


Block = tuple[Sequence[Any], list[Any] | None, Callable[[int], int]]  # inputs, targets, the line of each


def byte_blocks(pieces: Any) -> Iterator[Block]:
    """Each byte is a token."""
    lines = 1
    for piece in pieces:
        yield piece, None, lambda k, piece=piece, lines=lines: lines + piece[:k].count(b"\n")  # type: ignore[misc]
        lines += piece.count(b"\n")


def number_blocks(pieces: Any) -> Iterator[Block]:
    """Each line is a frame, with a target behind "->" or without; blank lines are passed over. Raises ValueError."""
    for lines in lines_of(pieces):
        frames: list[tuple[int, list[float], list[float] | None]] = []
        fault = None
        for number, line in lines:
            try:
                line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                if line and not line.isspace():
                    frames.append((number, *numbers_in(line)))
            except ValueError as error:
                fault = ValueError(f"line {number}: {error}")
                break
        for has_target, group in itertools.groupby(frames, lambda frame: frame[2] is not None):
            numbers, xs, targets = zip(*group, strict=True)
            yield list(xs), list(targets) if has_target else None, numbers.__getitem__
        if fault:
            raise fault
        if not lines:
            yield [], None, int  # nothing more for now


def lines_of(pieces: Any) -> Iterator[list[tuple[int, str]]]:
    """The lines that are complete, with their numbers, as they come; none where there is no more for now."""
    rest, number = b"", 0
    for piece in pieces:
        if not piece:
            yield []
            continue
        *whole, rest = (rest + piece).split(b"\n")
        yield [(number + k, decoded(line)) for k, line in enumerate(whole, 1)]
        number += len(whole)
    if rest:
        yield [(number + 1, decoded(rest))]


def decoded(line: bytes) -> str:
    return line.decode(errors="replace")


def numbers_in(line: str) -> tuple[list[float], list[float] | None]:
    """An input, and a target if there is one."""
    x, arrow, target = line.partition("->")
    return [float(v) for v in x.split()], [float(v) for v in target.split()] if arrow else None
