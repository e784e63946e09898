"""A worker that hosts consecutive stages: one layer, the readout, or several of them.

Layers and readout run the same loop; where they sit changes who sends to whom and not one bit of the results.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
from safetensors import SafetensorError
from safetensors.numpy import load
from safetensors.numpy import save as save_bytes

from streamrnn.cuda.device import CPU
from streamrnn.kernels.buffers import SKIPPED, table_of
from streamrnn.kernels.frames import COLUMNS, SEQ, STREAM
from streamrnn.kernels.messages import (
    DOUBLE,
    EVICT,
    FLOAT,
    FRAMES,
    H_BYTES,
    H_EXTRA,
    H_FRAMES,
    H_NUMBER,
    H_VECTORS,
    H_WIDTH,
    HEADER,
    OUTPUT,
)
from streamrnn.kernels.schedule import Schedule
from streamrnn.model.layers import Layer
from streamrnn.model.network import Network
from streamrnn.model.readouts import Forecast, Readout
from streamrnn.protocol.wire import LONGEST_TEXT, Message, as_numbers, bytes_of, emits, pack, size_in_bytes, unpack
from streamrnn.storage import checkpoint, files, network_state, stream_state
from streamrnn.storage.manifest import CheckpointError, read_manifest
from streamrnn.workers.device_room import allocated
from streamrnn.workers.kernels import loop
from streamrnn.workers.newest import newest
from streamrnn.workers.worker import Worker

if TYPE_CHECKING:
    from streamrnn.workers.device_loop import DeviceLoop

# parameters times frames: as much work as costs a good deal more than a message; small layers send frames together
FLUSH_AT = 2**18
NOTE, NOTE_OUTPUT = 2**12, 2**7  # bytes of what the gate knows of a stream, at most, and for each number of an output


def message_buffer(frames: int, vectors: int, width: int, extra: int) -> np.ndarray:
    """Room for the largest message with those counts, or for a text."""
    return np.zeros(size_in_bytes(frames, vectors, width, DOUBLE, extra) // 8 + LONGEST_TEXT, np.int64)


def stream_buffer(net: Network) -> np.ndarray:
    """Room for the state of a stream: what all stages keep of it, and gate and publisher."""
    size = stream_state.most_bytes(net.stages) + NOTE + NOTE_OUTPUT * net.readout.size
    return message_buffer(1, 0, 0, size // 8 + 2)


def make_links(net: Network, first: int, last: int, order: dict[str, Any], sockets: list[int]) -> loop.Links:
    """Message buffers large enough for these stages, around the handles of their sockets."""
    part = net.stages[first:last]
    block, inputs, outputs = order["block"], part[0].input_size, part[-1].output_size
    targets = 0 if order["token_targets"] else net.readout.size
    handles = np.array(sockets, np.uint64)
    polls = np.zeros((3, 2), np.int64)
    polls[:, 0] = handles[:3].view(np.int64)
    polls[:, 1] = np.where(polls[:, 0] != 0, loop.POLL_IN << 32, 0xFFFFFFFF)  # a descriptor of -1 is passed over
    state, parameters = np.zeros(loop.STATE, np.int64), sum(len(stage.stage.params) for stage in part)
    state[loop.EPOCH], state[loop.TARGET_WIDTH] = order["epoch"], targets
    ends_in_readout = last == len(net.stages)
    doubles = ends_in_readout and not net.readout.classes
    beside = net.readout.kind.beside(net.readout.size)
    extra = beside if ends_in_readout else targets
    state[loop.LOSSES] = beside
    state[loop.OUT_KIND] = OUTPUT if ends_in_readout else FRAMES
    state[loop.OUT_BYTES] = DOUBLE if doubles else FLOAT
    state[loop.FLUSH_AT] = block if ends_in_readout else FLUSH_AT // parameters
    return loop.Links(
        sockets=handles,
        polls=polls,
        state=state,
        incoming=max(message_buffer(block, block, inputs, block * targets), stream_buffer(net), key=len),
        gradient=message_buffer(0, net.window, max(inputs, outputs), 0),
        outgoing=message_buffer(block, block, outputs, block * extra),
        rows=np.zeros((block, COLUMNS), np.int64),
        vectors=np.zeros((block, outputs * (2 if doubles else 1)), np.float32),
        extra=np.zeros(block * extra),
        losses=np.zeros(block * beside),
        clock=np.zeros(2, np.int64),
    )


def connect(worker: Worker, order: dict[str, Any]) -> list[zmq.Socket | None]:
    """The sockets in the order of `Links.sockets`."""
    return [
        worker.socket(zmq.PULL, bind=order["frames_in"]),
        worker.socket(zmq.PULL, bind=order["gradients_in"]) if order["gradients_in"] else None,
        worker.control,
        worker.socket(zmq.PUSH, connect=order["frames_out"]),
        worker.socket(zmq.PUSH, connect=order["gradients_out"]) if order["gradients_out"] else None,
        worker.socket(zmq.PUSH, connect=order["to_gate"]),
    ]


def main(worker: Worker) -> None:
    """Run until told to stop."""
    order = worker.first_order()
    first, last = order["stages"]
    net = Network.from_spec(order["spec"], fresh=False)
    net.learning_rate = order["rate"]
    _, schedule = allocated(net, first, last, order["places"], order["block"])
    if order["resume"]:
        folder = Path(order["resume"])
        checkpoint.restore(folder, read_manifest(folder), net.stages[first:last], first, schedule)
    else:
        net.initialize(first, last)
    sockets = connect(worker, order)
    links = make_links(net, first, last, order, [s.underlying if s else 0 for s in sockets])
    at = loop_on(order["device"], worker, net, first, last, schedule, links)
    said = Said(net.stages[last - 1], at)
    worker.begin()
    while True:
        reason = at.serve()
        if reason == loop.AT_BARRIER:
            at.bring_back()
            save(worker, Path(order["checkpoints"]), net, first, last, schedule, links)
        elif reason == loop.AT_STREAM:
            move_stream(sockets[loop.ECHOES_OUT], net.stages[first:last], first, schedule, links, at)
        worker.waited = float(links.state[loop.WAITED]) * 1e-9
        worker.beat(lambda: facts(net.stages[first:last], links, at) | said.look(links))
        if worker.order()["kind"] == "stop":
            return


class CPULoop:
    """The compiled loop: what it works on are the stages' arrays. See `DeviceLoop`."""

    device_memory = 0

    def __init__(self, part: list[Layer | Readout], schedule: Schedule, links: loop.Links) -> None:
        self.places = table_of([owner.stage for owner in part]), schedule, links

    def serve(self) -> int:
        return int(loop.serve(*self.places))

    def look(self) -> None: ...

    def bring_back(self) -> None: ...

    def bring_back_stream(self, stream: int) -> None: ...

    def take_over_stream(self, stream: int) -> None: ...


def loop_on(
    name: str, worker: Worker, net: Network, first: int, last: int, schedule: Schedule, links: loop.Links
) -> "CPULoop | DeviceLoop":
    """The loop of stages[first:last] on the device of that name. Raises DeviceError where it cannot be used."""
    if name == CPU:
        return CPULoop(net.stages[first:last], schedule, links)
    from streamrnn.workers.device_loop import made

    with worker.reporting("compiling"):
        return made(name, net, first, last, schedule, links)


def facts(part: list, links: loop.Links, at: "CPULoop | DeviceLoop") -> dict[str, Any]:
    """How things are, for the supervisor: `skipped` updates had a gradient that was not finite."""
    at.look()
    return {
        "device_memory": at.device_memory,
        "rows": int(links.state[loop.DONE_FRAMES]),
        "bad": int(links.state[loop.BAD]),
        "skipped": sum(int(owner.stage.counters[SKIPPED]) for owner in part),
    }


class Said:
    """What a forecast said last, for the supervisor; of other stages nothing."""

    def __init__(self, owner: Layer | Readout, at: "CPULoop | DeviceLoop") -> None:
        self.at, self.readout = at, owner if isinstance(owner, Forecast) else None
        self.frames = 0  # that had been done when it was looked at
        self.facts: dict[str, Any] = {}

    def look(self, links: loop.Links) -> dict[str, Any]:
        """See what was sent last."""
        frames = int(links.state[loop.DONE_FRAMES])
        if self.readout and frames > self.frames:
            self.frames = frames
            message = received(links.outgoing)
            for stream in message.frames[emits(message), STREAM][-1:].tolist():
                self.at.bring_back_stream(stream)
            self.facts = newest(self.readout, message) or self.facts
        return self.facts


def move_stream(
    to_gate: zmq.Socket | None, part: list, first: int, schedule: Any, links: loop.Links, at: "CPULoop | DeviceLoop"
) -> None:
    """Take the stream out that the message in hand names, and send what these stages keep of it; or put it back.

    Raises CheckpointError if what comes back is not of such stages.
    """
    message = received(links.incoming)
    if message.kind == EVICT:
        assert to_gate
        at.bring_back_stream(message.number)
        kept = stream_state.take(part, schedule, message.number, first)
        event = int(message.frames[0, SEQ])
        to_gate.send(pack(Message(EVICT, message.epoch, event, extra=as_numbers(save_bytes(kept)))))
        return
    try:
        stream_state.put(load(bytes_of(message)), part, schedule, message.number, first)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"an evicted stream does not fit this network ({error})") from error
    at.take_over_stream(message.number)


def received(buffer: np.ndarray) -> Message:
    """The message at the beginning of a buffer."""
    counts = buffer[[H_FRAMES, H_VECTORS, H_WIDTH, H_BYTES, H_EXTRA]].tolist()
    return unpack(buffer.view(np.uint8)[: size_in_bytes(*counts)].tobytes())


def save(worker: Worker, folder: Path, net: Network, first: int, last: int, schedule: Any, links: loop.Links) -> None:
    """Write these stages into the temporary folder of the checkpoint that the barrier in hand names, and say so."""
    barrier = links.incoming[: HEADER + COLUMNS]
    number, streams = int(barrier[H_NUMBER]), int(barrier[HEADER + STREAM])
    kept = network_state.take(net.stages[first:last], schedule, streams)
    temporary = files.temporary_name(folder / checkpoint.number_name(number))

    def write() -> dict[str, str]:
        return {
            checkpoint.stage_file(stage): checkpoint.write_stage(temporary, stage, tensors)
            for stage, tensors in enumerate(kept, first)
        }

    worker.save(number, write)
