"""Named streams make room for others: which of them is evicted, where its state goes, and how it comes back.

Eviction and return are records of the journal, in the order of the frames. EVICT goes down the pipeline; each worker
that it comes by sends the gate what it keeps of the stream, and with what the gate knows of it that goes to the disk
(`streamrnn.workers.admission.stream_store`). Behind EVICT the number can be another stream's. RESTORE takes all of it
down again.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load, save

from streamrnn.kernels.frames import SEQ
from streamrnn.kernels.messages import EVICT, NAME, RESTORE
from streamrnn.protocol.stream_names import OWN
from streamrnn.protocol.wire import Message, as_numbers, as_text, bytes_of, pack, text_of
from streamrnn.storage.manifest import MANIFEST, CheckpointError, read_manifest
from streamrnn.storage.network_state import Tensors
from streamrnn.workers.admission.intake import DAEMONS, Intake, Refused
from streamrnn.workers.admission.pending import frame_with
from streamrnn.workers.admission.stream_store import StreamStore
from streamrnn.workers.worker import Failure

MOST_LEAVING = 16  # streams whose state is on its way to the disk
IN_USE, NEVER = "their clients are connected, or have requests under way", 'pipeline.evict is "never"'
KNOWN = "gate"  # the tensor with what the gate knows of a stream, in JSON


class Leaving:
    """A stream that is being evicted: what has come of its state, and how many workers have yet to send their part."""

    def __init__(self, known: dict[str, Any], missing: int) -> None:
        data = msgspec.json.encode(known)
        self.name: str = known["name"]
        self.tensors: Tensors = {KNOWN: np.frombuffer(data + b" " * (-len(data) % 8), np.uint8)}
        self.missing = missing
        self.closed = False  # nobody will want it back


class Eviction:
    """What the gate does about it.

    next_record()     the number that the next record of the journal gets, behind all that has been let in
    write(data, note, down)  write a message down and send it, or what stands for it
    is_there(client)  whether a client can be reached
    in_line(name)     whether a request of that stream is under way
    be_done(number)   nobody will ask for that stream's outputs again
    warn(event, text)  tell whoever runs the daemon
    """

    def __init__(
        self,
        order: dict[str, Any],
        intake: Intake,
        next_record: Callable[[], int],
        write: Callable[..., Any],
        is_there: Callable[[bytes], bool],
        in_line: Callable[[str], bool],
        be_done: Callable[[int], Any],
        warn: Callable[[str, str], Any],
    ) -> None:
        self.epoch, self.parts, self.most = order["epoch"], order["parts"], order["max_streams"]
        self.evicts = order["evict"] == "idle"
        self.intake, self.next_record, self.write = intake, next_record, write
        self.is_there, self.in_line, self.be_done, self.warn = is_there, in_line, be_done, warn
        self.disk = StreamStore(Path(order["evicted"]), order["run"], order["journal_start"])
        self.leaving: dict[int, Leaving] = {}  # by the number of the record
        self.refused = 0
        self._pruning: tuple[list[tuple[str, int]], int] | None = None
        kept = order["kept"].get("eviction", {"on_disk": 0, "clients": []})
        # the clients of each open stream, by its number; the stream that has been idle for longest is the first
        self.clients: dict[int, set[bytes]] = {number: set() for number in intake.names.values()}
        for number, *clients in kept["clients"]:
            self.opened(number)
            self.clients[number].update(map(bytes.fromhex, clients))
        if missing := kept["on_disk"] - self.disk.count:
            self.warn("streams_lost", f"{missing} evicted streams are not in {self.disk.path}: they begin anew")

    @property
    def on_disk(self) -> int:
        """Streams that have been evicted and not come back."""
        return self.disk.count + sum(not stream.closed for stream in self.leaving.values())

    def opened(self, number: int) -> None:
        """A number means another stream from now on."""
        self.clients.pop(number, None)
        self.clients[number] = set()

    def touch(self, number: int) -> None:
        """Frames of a source come for an open stream."""
        self.clients[number] = self.clients.pop(number, set())

    def use(self, number: int, client: bytes) -> None:
        """A client has a request let in to an open stream."""
        clients = self.clients.pop(number, set())
        clients.add(client)
        self.clients[number] = clients

    def knows(self, name: str) -> bool:
        """Whether a stream has been evicted and not come back."""
        return self._leaving(name) is not None or self.disk.has(name)

    def _leaving(self, name: str) -> Leaving | None:
        return next((stream for stream in self.leaving.values() if stream.name == name and not stream.closed), None)

    def admit(self, name: str) -> bool:
        """Whether a stream that is not open can be opened now; one that was evicted is open then.

        False where it must wait for what is on its way to the disk. Raises Refused where no other can make room.
        """
        if name.startswith(OWN):
            return True
        if self._leaving(name) or (self.intake.full(name) and not self._make_room()):
            return False
        return not self.disk.has(name) or self._restore(name)

    def _make_room(self) -> bool:
        if len(self.leaving) >= MOST_LEAVING:
            return False
        name = self._longest_idle()
        if name is None:
            self.refused += 1
            raise Refused(
                f"all {self.most} streams are in use: {IN_USE if self.evicts else NEVER}; close one or raise "
                "pipeline.max_streams"
            )
        number, record = self.intake.names[name], self.next_record()
        self._take_out(name, record)
        self.write(pack(Message(EVICT, self.epoch, number, frame_with(record))))
        return True

    def _longest_idle(self) -> str | None:
        """The open stream that has been idle for longest, of those whose clients are all gone."""
        if not self.evicts:
            return None
        names = {number: name for name, number in self.intake.names.items() if not name.startswith(OWN)}
        self.clients = {number: clients for number, clients in self.clients.items() if number in names}
        for number, clients in self.clients.items():
            name = names[number]
            if name not in DAEMONS and not self.in_line(name) and not self._any_there(clients):
                return name
        return None

    def _any_there(self, clients: set[bytes]) -> bool:
        """Whether one of these clients is; those before it that are gone are left out from now on."""
        while clients:
            client = next(iter(clients))
            if self.is_there(client):
                return True
            clients.discard(client)
        return False

    def forget_gone(self) -> None:
        """Forget the clients that are gone."""
        for number, clients in self.clients.items():
            self.clients[number] = {client for client in clients if self.is_there(client)}

    def _take_out(self, name: str, record: int) -> None:
        number = self.intake.names[name]
        self.be_done(number)
        self.clients.pop(number, None)
        self.leaving[record] = Leaving(self.intake.evict(name), self.parts)

    def _restore(self, name: str) -> bool:
        """Bring a stream back from the disk, if that can be written down; one that is damaged there begins anew."""
        record, number = self.next_record(), self.intake.free[-1]
        try:
            state = self._fetch(name, record)
        except OSError:
            return False
        if state:
            message = Message(RESTORE, self.epoch, number, frame_with(record), extra=as_text(name))
            self._bring_back(number, state)
            self.write(pack(message), None, pack(message._replace(extra=as_numbers(state))))
        return True

    def _fetch(self, name: str, record: int) -> bytes | None:
        """The state of a stream, which is not on the disk any more from that record on. Raises OSError."""
        state = self.disk.get(name)
        self.disk.end(name, record)
        if state is None:
            self.warn("stream_lost", f'{self.disk.path}: the stream "{name}" is lost or damaged, it begins anew')
        return state

    def _bring_back(self, number: int, state: bytes) -> None:
        self.intake.restore(number, msgspec.json.decode(load(state)[KNOWN].tobytes()))
        self.opened(number)

    def hear(self, message: Message) -> None:
        """A worker's part of an evicted stream."""
        if stream := self.leaving.get(message.number):
            stream.tensors |= load(bytes_of(message))
            stream.missing -= 1
            self.keep()

    def keep(self) -> None:
        """Write the states down that are whole, as far as the disk has room."""
        for record, stream in list(self.leaving.items()):
            if stream.missing:
                continue
            with suppress(OSError):
                if not stream.closed:
                    self.disk.put(stream.name, record, save(stream.tensors))
                del self.leaving[record]

    def are_kept(self, record: int) -> bool:
        """Whether all streams that were evicted up to that record are on the disk."""
        return all(later > record for later in self.leaving)

    def close(self, name: str, record: int) -> None:
        """Forget an evicted stream, with that record. Raises Refused if there is none, or the disk has no room."""
        if stream := self._leaving(name):
            stream.closed = True
        elif self.disk.has(name):
            try:
                self.disk.end(name, record)
            except OSError as error:
                raise Refused(str(error)) from error
        else:
            raise Refused(f'there is no stream "{name}"')

    def replay(self, message: Message) -> Message:
        """Do again what a record says, once nothing is leaving any more; the message that goes down."""
        number, record = message.number, int(message.frames[0, SEQ])
        if message.kind == EVICT:
            self._take_out(next(name for name, k in self.intake.names.items() if k == number), record)
            return message
        try:
            state = self._fetch(text_of(message), record)
        except OSError as error:
            raise Failure(str(error)) from error
        if not state:
            message = Message(NAME, self.epoch, number, extra=message.extra)
            self.intake.replay(message)
            return message
        self._bring_back(number, state)
        return message._replace(extra=as_numbers(state))

    def notes(self) -> dict[str, Any]:
        """For a checkpoint."""
        clients = [[number, *(client.hex() for client in clients)] for number, clients in self.clients.items()]
        return {"on_disk": self.on_disk, "clients": clients}

    def prune(self, checkpoints: Path) -> None:
        """Have removed from the disk what no checkpoint in that folder relies on; none is being written now."""
        if self.disk.is_open:
            self._pruning = list(places(checkpoints)), self.next_record() - 1

    def tidy(self) -> None:
        """Go on with what the disk had no room or time for."""
        self.keep()
        with suppress(OSError):
            if self._pruning and not self.disk.prune(*self._pruning):
                self._pruning = None


def places(checkpoints: Path) -> Iterator[tuple[str, int]]:
    """The run and the last record of each checkpoint in a folder."""
    for path in checkpoints.glob(f"*/{MANIFEST}"):
        with suppress(CheckpointError):
            manifest = read_manifest(path.parent)
            yield manifest.run, manifest.journal
