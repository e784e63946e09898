"""Buffers of a worker's stages, and whether devices have room for them: `python -m`, a question on standard input."""

import sys
from collections import Counter
from collections.abc import Sequence

import msgspec

from streamrnn.cuda import device as devices
from streamrnn.cuda import room
from streamrnn.kernels.buffers import Stage
from streamrnn.kernels.schedule import Schedule, new_schedule
from streamrnn.model.network import Network
from streamrnn.workers.devices import UNUSABLE, Question


def answer(question: Question) -> None:
    """Raises DeviceError."""
    net = Network.from_spec(question.spec, fresh=False)
    needed: Counter[str] = Counter()
    for name, first, last in question.parts:
        devices.gpu(name)
        hosts, schedule = allocated(net, first, last, question.places, question.block)
        needed[name] += room.bytes_of(hosts, schedule, *sizes_of(net))
    for name, count in needed.items():
        devices.check_room(name, count)


def allocated(net: Network, first: int, last: int, places: int, block: int) -> tuple[Sequence[Stage], Schedule]:
    """Buffers of stages[first:last] for a worker, and its schedule; of so many streams, and frames in a message."""
    versions = net.gradient_delay if last < len(net.stages) else 0
    sizes = net.sizes(places, block, versions)
    return net.allocate(first, last, sizes), new_schedule(sizes, net.accumulate, net.gradient_delay)


def sizes_of(net: Network) -> tuple[int, int, int]:
    """Numbers of a vector from outside, of a target that is a vector, and of losses."""
    return net.input_size, 0 if net.readout.classes else net.readout.size, net.readout.loss_size


if __name__ == "__main__":
    try:
        answer(msgspec.json.decode(sys.stdin.buffer.read(), type=Question))
    except devices.DeviceError as error:
        print(error)
        sys.exit(UNUSABLE)
