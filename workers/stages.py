"""A worker that hosts consecutive stages: one layer, the readout, or several of them.

Layers and readout run the same loop; where they sit changes who sends to whom and not one bit of the results.
"""

from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamrnn import checkpoint
from streamrnn.buffers import SKIPPED, table_of
from streamrnn.frames import COLUMNS, STREAM
from streamrnn.network import Network
from streamrnn.schedule import new_schedule
from streamrnn.wire import FRAMES, H_NUMBER, HEADER, LONGEST_TEXT, OUTPUT, size_in_bytes
from streamrnn.workers import loop
from streamrnn.workers.member import Member

# parameters times frames: as much work as costs a good deal more than a message; small layers send frames together
FLUSH_AT = 2**18
# parameters times frames between two looks at orders and the clock: well under a second, that of a heartbeat
WORK = 2**33


def message_buffer(frames: int, vectors: int, width: int, extra: int) -> np.ndarray:
    """Room for the largest message with those counts, or for a text."""
    return np.zeros(size_in_bytes(frames, vectors, width, extra) // 8 + LONGEST_TEXT, np.int64)


def make_links(net: Network, first: int, last: int, order: dict[str, Any], sockets: list[int]) -> loop.Links:
    """Message buffers large enough for these stages, around the handles of their sockets."""
    part = net.stages[first:last]
    block, inputs, outputs = order["block"], part[0].input_size, part[-1].output_size
    targets = 0 if order["token_targets"] else net.readout.size
    handles = np.array(sockets, np.uint64)
    polls = np.zeros((3, 2), np.int64)
    polls[:, 0] = handles[:3].view(np.int64)
    polls[:, 1] = np.where(polls[:, 0] != 0, loop.POLL_IN << 32, 0xFFFFFFFF)  # a descriptor of -1 is passed over
    state, parameters = np.zeros(16, np.int64), sum(len(stage.stage.params) for stage in part)
    state[loop.EPOCH], state[loop.TARGET_WIDTH] = order["epoch"], targets
    ends_in_readout = last == len(net.stages)
    state[loop.OUT_KIND] = OUTPUT if ends_in_readout else FRAMES
    state[loop.FLUSH_AT] = block if ends_in_readout else FLUSH_AT // parameters
    state[loop.TURNS] = min(max(WORK // (parameters * net.window), 1), 256)
    return loop.Links(
        sockets=handles,
        polls=polls,
        state=state,
        incoming=message_buffer(block, block, inputs, block * targets),
        gradient=message_buffer(0, net.window, max(inputs, outputs), 0),
        outgoing=message_buffer(block, block, outputs, block * max(targets, 1)),
        rows=np.zeros((block, COLUMNS), np.int64),
        vectors=np.zeros((block, outputs), np.float32),
        extra=np.zeros(block * max(targets, 1), np.float32),
        losses=np.zeros(block),
    )


def connect(member: Member, order: dict[str, Any]) -> list[zmq.Socket | None]:
    """The sockets in the order of `Links.sockets`."""
    return [
        member.socket(zmq.PULL, bind=order["frames_in"]),
        member.socket(zmq.PULL, bind=order["gradients_in"]) if order["gradients_in"] else None,
        member.control,
        member.socket(zmq.PUSH, connect=order["frames_out"]),
        member.socket(zmq.PUSH, connect=order["gradients_out"]) if order["gradients_out"] else None,
        member.socket(zmq.PUSH, connect=order["to_gate"]),
    ]


def main(member: Member) -> None:
    """Run until told to stop."""
    order = member.first_order()
    first, last = order["stages"]
    net = Network.from_spec(order["spec"])
    net.learning_rate = order["rate"]
    versions = net.gradient_delay if last < len(net.stages) else 0
    sizes = net.sizes(order["max_streams"], order["block"], versions)
    stages = table_of(net.allocate(first, last, sizes))
    schedule = new_schedule(sizes, net.accumulate, net.gradient_delay)
    if order["resume"]:
        folder = Path(order["resume"])
        checkpoint.restore(folder, checkpoint.read_manifest(folder), net.stages[first:last], first, schedule)
    sockets = connect(member, order)
    links = make_links(net, first, last, order, [s.underlying if s else 0 for s in sockets])
    member.report("ready")
    while True:
        if loop.serve(stages, schedule, links) == loop.AT_BARRIER:
            save(member, Path(order["checkpoints"]), net, first, last, schedule, links)
        member.beat(lambda: facts(net.stages[first:last], links))
        if member.order()["kind"] == "stop":
            return


def facts(part: list, links: loop.Links) -> dict[str, Any]:
    """How things are, for the supervisor: `skipped` updates had a gradient that was not finite."""
    return {
        "frames": int(links.state[loop.DONE_FRAMES]),
        "bad": int(links.state[loop.BAD]),
        "skipped": sum(int(owner.stage.counters[SKIPPED]) for owner in part),
    }


def save(member: Member, folder: Path, net: Network, first: int, last: int, schedule: Any, links: loop.Links) -> None:
    """Write these stages into the temporary folder of the checkpoint that the barrier in hand names, and say so."""
    barrier = links.incoming[: HEADER + COLUMNS]
    number, streams = int(barrier[H_NUMBER]), int(barrier[HEADER + STREAM])
    kept = checkpoint.take(net.stages[first:last], schedule, streams)
    temporary = checkpoint.temporary_name(folder / checkpoint.number_name(number))

    def write() -> dict[str, str]:
        return {
            checkpoint.stage_file(stage): checkpoint.write_stage(temporary, stage, tensors)
            for stage, tensors in enumerate(kept, first)
        }

    member.save(number, write)
