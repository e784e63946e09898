"""Frames of a stream on their way through a daemon: many go in before the first output is waited for.

They go in messages of as many as there are, and no more than WINDOW messages are under way, so that memory is bounded
however long the stream. Outputs come on a subscription of its own, and are those of a message from the number on that
the gate has given its first frame: within a stream nothing comes between the frames of a message.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from streamrnn.client.errors import DaemonGone, FrameRefused
from streamrnn.client.frame import BLOCK, block_messages, frame_message, most_frames
from streamrnn.client.output import Output
from streamrnn.client.requests import Requests
from streamrnn.client.subscription import Listening
from streamrnn.kernels.frames import BEGIN, FLAGS
from streamrnn.kernels.messages import FRAMES
from streamrnn.model.channels import by_name
from streamrnn.model.feedback import Shape
from streamrnn.protocol.wire import NO_VECTORS, Message

WINDOW = 64  # messages: so many that a slow disk is not waited for after each

Item = tuple[Any, Any]  # an input and its target, None where there is none


class Blocks(NamedTuple):
    """Makes messages of many frames."""

    shape: Shape
    channels: Sequence[str] | None
    learn: bool
    largest: int  # bytes of a message

    @property
    def most(self) -> int:
        """Frames of a message."""
        numbers = self.shape.inputs * (not self.shape.tokens) + self.shape.outputs * (not self.shape.classes)
        return min(BLOCK, most_frames(self.largest, numbers))

    def message(self, items: list[Item]) -> tuple[Message | None, ValueError | None]:
        """A message of `most` items at the most; of those before the first that does not fit, and what is wrong."""
        xs, targets = [x for x, _ in items], [target for _, target in items]
        lacking = sum(target is None for target in targets)
        if lacking in (0, len(items)) and not any(x is None for x in xs):
            with suppress(ValueError):
                xs = [by_name(x, self.channels, self.shape.missing) for x in xs] if self.channels else xs
                given = None if lacking else targets
                return block_messages(self.shape, xs, given, self.learn, self.largest)[0], None
        return self._one_by_one(items)

    def _one_by_one(self, items: list[Item]) -> tuple[Message | None, ValueError | None]:
        made: list[Message] = []
        wrong = None
        try:
            for x, target in items:
                x = by_name(x, self.channels, self.shape.missing)
                made.append(frame_message(self.shape, x, target, self.learn, 0))
        except ValueError as error:
            wrong = error
        if not made:
            return None, wrong
        vectors = [message.vectors for message in made if len(message.vectors)]
        frames, extra = (np.concatenate([message[k] for message in made]) for k in (3, 5))
        return Message(FRAMES, 0, 0, frames, np.concatenate(vectors) if vectors else NO_VECTORS, extra), wrong


class Pipeline:
    """What is under way of one stream. One caller at a time."""

    def __init__(
        self,
        requests: Requests,
        listening: Listening,
        blocks: Blocks,
        stream: str,
        begin: set[str],
        timeout: float,
    ) -> None:
        """begin: streams whose next frame begins a new sequence. timeout: seconds, of each wait."""
        self._requests, self._listening, self._blocks = requests, listening, blocks
        self._stream, self._begin, self._timeout = stream, begin, timeout
        self.most = blocks.most  # frames of a message
        self._under_way: deque[tuple[int, int]] = deque()  # requests, and how many frames each has
        self._heard: list[Output] = []  # of the first of them
        self.error: Exception | None = None  # what ends the stream once all before it is through

    @property
    def has_room(self) -> bool:
        """Whether one more message may go in."""
        return len(self._under_way) < WINDOW

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    async def put(self, items: list[Item]) -> None:
        """Send frames, `most` at the most; what is wrong with one of them is in `error` then. Raises DaemonGone."""
        message, self.error = self._blocks.message(items) if items else (None, None)
        if not message:
            return
        if self._stream in self._begin:
            message.frames[0, FLAGS] |= BEGIN
        number = await self._requests.post(self._stream, message, self._timeout)
        self._begin.discard(self._stream)
        self._requests.expect(number)
        self._under_way.append((number, len(message.frames)))
        if len(items) < self.most:  # as many as there were: somebody waits for their outputs
            self._requests.hurry(number)

    async def heard(self, wait: bool) -> list[Output]:
        """The outputs of the message that has been under way for longest; none if nothing is under way.

        wait: without it, and while there is room for more, none if the daemon has not taken that message.
        Raises FrameRefused, DaemonGone.
        """
        await self._requests.keep_up(self._timeout)
        if not self._under_way:
            return []
        number, count = self._under_way[0]
        if not wait and self.has_room and not self._requests.is_answered(number):
            return []
        try:
            first = (await self._requests.answer(number, self._timeout)).first
        except FrameRefused:
            await self._see_the_rest()
            raise
        while len(self._heard) < count:
            outputs = await self._listening.several(count - len(self._heard))
            if self._listening.missed:
                raise DaemonGone(f"outputs of stream {self._stream} from frame {first} on were lost")
            self._heard += [output for output in outputs if output.seq >= first]
        self._requests.expect_no_more(number)
        self._under_way.popleft()
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Be done: what is under way goes its way, and a refusal of it is raised by a later call of the client."""
        while self._under_way:
            self._requests.expect_no_more(self._under_way.popleft()[0])
        self._listening.close()

    async def _see_the_rest(self) -> None:
        """Wait for the answers behind a refusal, so that no later call raises what is of the same kind."""
        for number, _ in self._under_way:
            with suppress(FrameRefused, DaemonGone):
                await self._requests.answer(number, self._timeout)
