"""Each place where something from outside comes in, and what must hold once it has. One file a place."""

from benchmarks.reliability.fuzz.targets.checkpoint import Checkpoints
from benchmarks.reliability.fuzz.targets.config import Config
from benchmarks.reliability.fuzz.targets.control import Control
from benchmarks.reliability.fuzz.targets.decoder import Decoder
from benchmarks.reliability.fuzz.targets.gate import Clients
from benchmarks.reliability.fuzz.targets.publisher import Publishing
from benchmarks.reliability.fuzz.targets.receiver import Receiver
from benchmarks.reliability.fuzz.targets.target import Target

TARGETS: list[type[Target]] = [Decoder, Receiver, Clients, Config, Checkpoints, Publishing, Control]
