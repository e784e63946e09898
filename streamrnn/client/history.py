"""The daemon's history of outputs, which a client asks for what it has missed."""

from streamrnn.client.control import ask
from streamrnn.client.errors import DaemonGone
from streamrnn.client.lines import Line
from streamrnn.kernels.frames import places
from streamrnn.protocol.wire import Message, unpack

Gap = tuple[int, int]  # places of a stream, between which rows may be lacking
BEFORE_ALL, BEHIND_ALL = -1, 2**62 - 1  # places before and behind those of all rows


class History:
    """Asks for outputs on a line of its own. Places are those of `streamrnn.kernels.frames.places`."""

    def __init__(self, line: Line, timeout: float) -> None:
        """timeout: seconds, of each answer."""
        self._line = line
        self.timeout = timeout

    async def messages(self, stream: str, after: int, before: int) -> tuple[list[Message], list[Gap]]:
        """Outputs of a stream's rows between those places, and the gaps where some may lack. Raises DaemonGone."""
        found: list[Message] = []
        gaps: list[Gap] = []
        while after < before - 1:
            question = {"ask": "history", "stream": stream, "after": after, "before": before}
            answer = await ask(self._line, question, self.timeout)
            if not answer:
                raise DaemonGone(f"no outputs of before within {self.timeout} s")
            facts, data = answer
            part = [unpack(message) for message in data]
            if not facts["whole"]:
                gaps.append((after, int(places(part[0].frames)[0]) if part else facts["until"] + 1))
            found += part
            after = facts["until"]
        return found, gaps

    def close(self) -> None:
        """Close the line."""
        self._line.close()
