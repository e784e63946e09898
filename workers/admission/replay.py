"""What the journal holds behind the checkpoint is let in again, as it was: the same rows with the same numbers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from streamrnn.kernels.frames import COLUMNS
from streamrnn.kernels.messages import NAME, RATE
from streamrnn.protocol.wire import PREVIEW, pack, unpack
from streamrnn.workers.admission.journal_entries import Ahead, Batch, Control, decode, unpack_frames
from streamrnn.workers.worker import Failure

if TYPE_CHECKING:
    from streamrnn.workers.admission.journal import Journal, NoJournal
    from streamrnn.workers.gate import Gate

NO_TOKENS = np.zeros(0, np.int64)


def replayed(gate: "Gate", start: int) -> Iterator[None]:
    """Send down again what is in the gate's journal behind record number `start`: a step for each message, at most.

    Raises Failure where the source no longer gives what was taken from it.
    """
    ahead = NO_TOKENS  # of the source, and comes before anything else
    for number, record in gate.journal.after(start):
        entry = decode(record)
        count = len(ahead) if entry.at is None else entry.at - gate.own_source.position
        yield from source_again(gate, ahead[:count])
        ahead = ahead[count:]
        if isinstance(entry, Ahead):
            ahead = read_again(gate, entry)
        elif isinstance(entry, Control):
            if begins_source(entry):
                ahead = NO_TOKENS
            control_again(gate, entry, number)
            yield
        else:
            batch_again(gate, entry)
            yield
    yield from source_again(gate, ahead[: int(min(len(ahead), gate.left))])


def begins_source(entry: Control) -> bool:
    """Whether another source is read from there, from its beginning."""
    return "source" in (entry.note or {})


def frames_behind(journal: "Journal | NoJournal", start: int, position: int) -> int:
    """How many frames are in a journal behind record number `start`; position: of the source, at that record."""
    count, reached, end = 0, position, position
    for _, record in journal.after(start):
        entry = decode(record)
        reached = end if entry.at is None else entry.at
        end = max(reached, end)
        if isinstance(entry, Ahead):
            end = entry.at + entry.count
        elif isinstance(entry, Batch):
            count += sum(part.count for part in entry.parts)
        elif begins_source(entry):
            count, position, end = count + reached - position, 0, 0
    return count + end - position


def source_again(gate: "Gate", frames: np.ndarray) -> Iterator[None]:
    """Let in frames of the source."""
    most = gate.order["block"] // 2  # each becomes two rows
    for k in range(0, len(frames), most):
        gate.own_source.let_in(frames[k : k + most])
        send_block(gate)
        yield


def read_again(gate: "Gate", entry: Ahead) -> np.ndarray:
    """The frames that were to come next. Raises Failure if they are others now."""
    source = gate.own_source.rereadable
    if not source:
        raise Failure("what was read from a file must be read again, and the config has another source: put it back")
    frames = source.peek(entry.at, entry.count)
    if checksum(frames) != entry.checksum:
        raise Failure(
            f"{source.where(entry.at, entry.count)} are not what was read there before, and must be taken again: "
            "put the file back as it was, go back with `streamrnn checkpoints rollback`, or begin anew"
        )
    return frames


def checksum(frames: np.ndarray) -> int:
    """Of frames of a source."""
    return crc32(frames.tobytes(), len(frames))


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
            gate.own_source.position += len(let.frames)
            intake.last.pop(let.stream, None)
        if let.stream != intake.names.get(PREVIEW):
            gate.took(len(let.frames))
        intake.add(let.stream, let.frames, let.X, let.targets)
    if entry.parts:
        send_block(gate)


def send_block(gate: "Gate") -> None:
    """Send what was let in."""
    gate.pending.replay_frames(
        np.concatenate(gate.intake.rows) if gate.intake.rows else np.zeros((0, COLUMNS), np.int64)
    )
    gate.sent += gate.intake.count
    gate.down.send(gate.intake.block())
