"""What the journal holds behind the checkpoint is let in again, as it was: the same rows with the same numbers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from streamrnn.kernels.frames import FLAGS, TIME, TIMED
from streamrnn.kernels.messages import NAME, RATE
from streamrnn.protocol.stream_names import PREVIEW
from streamrnn.protocol.wire import pack, unpack
from streamrnn.sources import Frames
from streamrnn.workers.admission.journal_entries import Ahead, Batch, Control, decode, unpack_frames

if TYPE_CHECKING:
    from streamrnn.workers.admission.journal import Journal, NoJournal
    from streamrnn.workers.gate import Gate


def replayed(gate: "Gate", start: int) -> Iterator[None]:
    """Send down again what is in the gate's journal behind record number `start`: a step for each message, at most.

    Raises Failure where a source no longer gives what was taken from it.
    """
    sources = gate.sources
    for number, record in gate.journal.after(start):
        entry = decode(record)
        yield from named_again(gate, entry.at - sources.at)
        if isinstance(entry, Ahead):
            sources.read_again(entry)
        elif isinstance(entry, Control):
            control_again(gate, entry, number)
            yield
        else:
            batch_again(gate, entry)
            yield
    yield from named_again(gate, int(min(sources.count_open(), gate.left)))


def frames_behind(journal: "Journal | NoJournal", start: int) -> int:
    """How many frames are in a journal behind record number `start`."""
    count = named = at = 0
    for _, record in journal.after(start):
        entry = decode(record)
        count, at = count + entry.at - at, entry.at
        if isinstance(entry, Ahead):
            named, at = entry.count, 0
        elif isinstance(entry, Batch):
            count += sum(part.count for part in entry.parts)
    return count + named - at


def named_again(gate: "Gate", count: int) -> Iterator[None]:
    """Let in so many of the frames that an Ahead has named."""
    most = gate.order["block"] // 2  # each becomes two rows
    for k in range(0, count, most):
        gate.sources.replay(min(most, count - k))
        send_block(gate)
        yield


def checksum(frames: Frames) -> int:
    """Of frames of a source."""
    found = crc32(frames.values.tobytes(), len(frames))
    if frames.times is not None:
        found = crc32(frames.times.tobytes(), found)
    return crc32("\0".join(frames.keys).encode(), found) if frames.keys is not None else found


def control_again(gate: "Gate", entry: Control, number: int) -> None:
    """Send the message of that record down again, and remember what its note says."""
    gate.remember(number, entry.note or {})
    if entry.data:
        message = unpack(entry.data)._replace(epoch=gate.order["epoch"])
        if message.kind == RATE:
            gate.rate = float(np.int64(message.number).view(np.float64))
        elif message.kind == NAME:
            gate.intake.replay(message)
            gate.eviction.opened(message.number)
        else:
            message = gate.eviction.replay(message)
        gate.down.send(pack(message))


def batch_again(gate: "Gate", entry: Batch) -> None:
    """Let in frames of clients, or of a source that cannot be read again."""
    gate.pending.replay(entry.requests, entry.ended)  # what has ended asked for its outputs in records before
    intake = gate.intake
    for part in entry.parts:
        let = unpack_frames(part, intake.inputs, intake.targets)
        if let.own:
            intake.last.pop(let.stream, None)
            timed = let.frames[:, FLAGS] & TIMED > 0
            gate.sources.screening.note(let.stream, let.frames[timed, TIME], let.X[timed])
        if let.stream != intake.names.get(PREVIEW):
            gate.took(len(let.frames))
        intake.add(let.stream, let.frames, let.X, let.targets)
    gate.sources.positions |= entry.positions
    if entry.parts:
        send_block(gate)


def send_block(gate: "Gate") -> None:
    """Send what was let in, if anything was."""
    if not gate.intake.rows:
        return
    gate.pending.replay_frames(np.concatenate(gate.intake.rows))
    gate.sent += gate.intake.count
    gate.down.send(gate.intake.block())
