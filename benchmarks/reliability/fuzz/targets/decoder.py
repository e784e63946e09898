"""What decodes a message."""

from benchmarks.reliability.fuzz.messages import letters
from benchmarks.reliability.fuzz.targets.target import Target
from streamrnn.kernels.frames import COLUMNS
from streamrnn.protocol.wire import WireError, pack, unpack


class Decoder(Target):
    """`streamrnn.protocol.wire.unpack`."""

    name, share = "frame decoder", 430
    seeds = letters()

    def make(self) -> list[bytes]:
        return [self.spoiled(self.random.choice(self.seeds), self.seeds)]

    def take(self, parts: list[bytes]) -> bool:
        try:
            message = unpack(parts[0])
        except WireError:
            return False
        assert message.frames.shape[1] == COLUMNS
        assert pack(message) == parts[0], "what was decoded is not what came"
        return True
