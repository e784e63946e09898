"""What the gate writes into its journal: what came in, before it is laid out as rows, packed small.

    Batch    frames of one or more streams, what has become of requests, and where the sources were by then
    Ahead    the next frames of a source that can be read again, by its position and a checksum
    Control  a message for the pipeline, a note for the gate, or both

An entry says `at` how many frames of the Ahead before it were let in by then. Where no entry follows, it may have been
any number of those whose streams were open: to open another takes an entry.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streamrnn.kernels.frames import COLUMNS, DISMISS, FLAGS, INPUT, SCORED, TARGET, TIME, TIMED, TOKEN
from streamrnn.model.feedback import Last
from streamrnn.workers.admission.deduplication import Progress

SMALL = "B", "b", "H", "h", "I", "i"  # types that numbers are packed into, where they fit; else "q"
NONE = -1  # instead of a stream's number
Column = int | bytes  # numbers: one that all are, or a type and the numbers in it
Rising = tuple[int, Column]  # a first number, and the differences behind it


class Part(msgspec.Struct, array_like=True):
    """Frames of one stream, as `Intake.add` takes them, X and targets of those that have one."""

    stream: int
    own: bool  # from a source of the daemon
    count: int
    flags: Column
    tokens: Column
    targets: Column
    vectors: bytes
    scored: bytes
    times: Rising | None  # of those that have one


class Progresses(msgspec.Struct, array_like=True):
    """How far requests of one client are."""

    count: int
    numbers: Rising
    taken: Column
    first: Rising
    finished: Column
    heard: Column
    streams: Column
    reasons: dict[int, str]  # of those that were refused, by their place


class Batch(msgspec.Struct, array_like=True, tag=0):
    """What was let in, and what has become of requests by then."""

    at: int
    parts: list[Part]
    requests: dict[bytes, Progresses]
    ended: dict[int, Any]  # streams whose request is done, and what can be fed back to them, see `pack_last`
    positions: dict[str, Any]  # by what they are of


class Ahead(msgspec.Struct, array_like=True, tag=1):
    """These frames of the source come next."""

    at: int
    source: str
    position: Any
    count: int
    checksum: int


class Control(msgspec.Struct, array_like=True, tag=2):
    """Anything else."""

    at: int
    data: bytes
    note: dict[str, Any] | None


class Let(NamedTuple):
    """What `Intake.add` was given."""

    stream: int
    own: bool
    frames: np.ndarray
    X: np.ndarray
    targets: np.ndarray


Entry = Batch | Ahead | Control
ENCODER, DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Entry)
encode, decode = ENCODER.encode, DECODER.decode


def pack_column(values: np.ndarray) -> Column:
    """Whole numbers (n,), small; see `unpack_column`."""
    if not len(values):
        return 0
    low, high = int(values.min()), int(values.max())
    if low == high:
        return low
    kind = next((k for k in SMALL if np.iinfo(k).min <= low and high <= np.iinfo(k).max), "q")
    return kind.encode() + values.astype(f"<{kind}").tobytes()


def unpack_column(packed: Column, count: int) -> np.ndarray:
    """The numbers, int64 (count,)."""
    if isinstance(packed, int):
        return np.full(count, packed, np.int64)
    return np.frombuffer(packed, f"<{chr(packed[0])}", count, 1).astype(np.int64)


def pack_rising(values: np.ndarray) -> Rising:
    """The same for numbers that mostly grow by the same; at least one."""
    return int(values[0]), pack_column(np.diff(values))


def unpack_rising(packed: Rising, count: int) -> np.ndarray:
    """The numbers, int64 (count,)."""
    first, steps = packed
    return np.cumsum(np.append(first, unpack_column(steps, count - 1)))


def pack_vectors(vectors: np.ndarray) -> bytes:
    """float64 (n, size), all first bytes of the numbers, then all second ones: signs and exponents are much alike.

    As float32 where that says the same, to the bit.
    """
    with np.errstate(over="ignore"):
        short = vectors.astype("<f4")
    same = short.astype("<f8").tobytes() == np.ascontiguousarray(vectors, "<f8").tobytes()
    numbers = short if same else np.ascontiguousarray(vectors, "<f8")
    return numbers.view(np.uint8).reshape(-1, numbers.itemsize).T.tobytes()


def unpack_vectors(packed: bytes, rows: int, size: int) -> np.ndarray:
    """float64 (rows, size)."""
    numbers = np.frombuffer(packed, np.uint8).reshape(-1, rows * size).T
    return np.ascontiguousarray(numbers).view(f"<f{numbers.shape[1]}").reshape(rows, size).astype(np.float64)


def joined(lets: Iterable[Let]) -> Iterator[Let]:
    """What came for one stream without another between, as one: letting it in has the same effect."""
    for (stream, own), group in groupby(lets, lambda let: let[:2]):
        parts = [let[2:] for let in group]
        yield Let(stream, own, *(parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))))


def pack_frames(let: Let) -> Part:
    """See `unpack_frames`."""
    stream, own, frames, X, targets = let
    flags, scored = frames[:, FLAGS], frames[:, FLAGS] & SCORED > 0
    timed = flags & TIMED > 0
    return Part(
        stream,
        own,
        len(frames),
        pack_column(flags),
        pack_column(frames[:, TOKEN]),
        pack_column(np.where(scored | (flags & DISMISS > 0), frames[:, TARGET], 0)),
        pack_vectors(X[flags & INPUT > 0]) if X.size else b"",
        pack_vectors(targets[scored]) if targets.size else b"",
        pack_rising(frames[timed, TIME]) if timed.any() else None,
    )


def unpack_frames(part: Part, inputs: int, targets: int) -> Let:
    """Frames and their vectors of those sizes, 0 for tokens: of what `Intake.add` looks at, the same."""
    frames = np.zeros((part.count, COLUMNS), np.int64)
    for column, packed in ((FLAGS, part.flags), (TOKEN, part.tokens), (TARGET, part.targets)):
        frames[:, column] = unpack_column(packed, part.count)
    if part.times:
        timed = frames[:, FLAGS] & TIMED > 0
        frames[timed, TIME] = unpack_rising(part.times, int(timed.sum()))
    X = np.zeros((part.count, inputs))
    Y = np.zeros((part.count, targets))
    if part.vectors:
        given = frames[:, FLAGS] & INPUT > 0
        X[given] = unpack_vectors(part.vectors, int(given.sum()), inputs)
    if part.scored:
        scored = frames[:, FLAGS] & SCORED > 0
        Y[scored] = unpack_vectors(part.scored, int(scored.sum()), targets)
    return Let(part.stream, part.own, frames, X, Y)


def pack_progress(news: dict[int, tuple[Progress, int]]) -> Progresses:
    """How far the requests of one client are, and of which stream (NONE where they came to none), by their numbers."""
    progress, streams = zip(*news.values(), strict=True)
    taken, first, finished, reasons, heard = zip(*progress, strict=True)
    return Progresses(
        len(news),
        pack_rising(np.array(list(news), np.int64)),
        pack_column(np.array(taken, np.int64)),
        pack_rising(np.array(first, np.int64)),
        pack_column(np.array(finished, np.int64)),
        pack_column(np.array(heard, np.int64)),
        pack_column(np.array(streams, np.int64)),
        {place: reason for place, reason in enumerate(reasons) if reason},
    )


def unpack_progress(packed: Progresses) -> list[tuple[int, Progress, int]]:
    """The numbers of requests, how far they are, and of which stream."""
    count = packed.count
    numbers, first = unpack_rising(packed.numbers, count), unpack_rising(packed.first, count)
    columns = packed.taken, packed.finished, packed.heard, packed.streams
    taken, finished, heard, streams = (unpack_column(column, count) for column in columns)
    return [
        (
            int(numbers[k]),
            Progress(int(taken[k]), int(first[k]), bool(finished[k]), packed.reasons.get(k, ""), int(heard[k])),
            int(streams[k]),
        )
        for k in range(count)
    ]


def pack_last(last: Last | None) -> list[Any] | None:
    """What can be fed back to a stream, but for chance; an output that is not finite is unknown."""
    if last is None:
        return None
    y = last.y.astype("<f8").tobytes() if last.y is not None and np.isfinite(last.y).all() else None
    return [last.value.astype("<f8").tobytes() if isinstance(last.value, np.ndarray) else last.value, y]


def unpack_last(packed: list[Any] | None) -> Last | None:
    """From what `pack_last` gave."""
    if packed is None:
        return None
    value, y = (np.frombuffer(part, "<f8").copy() if isinstance(part, bytes) else part for part in packed)
    return Last(value, y)
