"""The gate's part of a checkpoint: a barrier goes down, and how the gate stood then is written.

The streams and how far the source has been read go into the manifest; what the gate remembers of requests, and outputs
of those that were under way, into two files.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streamrnn.kernels.messages import BARRIER
from streamrnn.protocol.wire import Message, pack
from streamrnn.storage import checkpoint, files
from streamrnn.storage.manifest import read_manifest
from streamrnn.workers.admission.eviction import Eviction
from streamrnn.workers.admission.intake import Intake
from streamrnn.workers.admission.journal import Journal, JournalFull, NoJournal
from streamrnn.workers.admission.pending import Echoes, PendingRequests, frame_with
from streamrnn.workers.admission.sources import Sources
from streamrnn.workers.worker import Worker

NOTES_FILE, OUTPUTS_FILE = "gate.json", "outputs.safetensors"  # of a checkpoint


class Snapshot(NamedTuple):
    """A checkpoint whose barrier has gone down: the gate as it was then."""

    number: int
    facts: dict[str, Any]
    notes: bytes
    echoes: dict[int, Echoes]  # of requests under way


class CheckpointPart:
    """One at a time: `begin`, then `save` again and again until it has been handed to be written.

    send(data)  send a message down the pipeline
    """

    def __init__(
        self,
        worker: Worker,
        order: dict[str, Any],
        intake: Intake,
        journal: Journal | NoJournal,
        sources: Sources,
        eviction: Eviction,
        pending: PendingRequests,
        send: Callable[[bytes], Any],
    ) -> None:
        self.worker, self.order, self.intake, self.journal = worker, order, intake, journal
        self.sources, self.eviction, self.pending, self.send = sources, eviction, pending, send
        self.saving: Snapshot | None = None

    def begin(self, number: int, left: int | None, rate: float) -> None:
        """Send a barrier down behind everything, which has been written down, and keep how the gate stands.

        left: frames that may still be let in, None for any number. rate: the learning rate in force.
        """
        intake, sources = self.intake, self.sources
        sources.lead_no_more()
        self.journal.flush()  # no checkpoint is ahead of the journal, whenever the power goes
        with suppress(JournalFull):  # then less can be removed later
            self.journal.turn()
        self.send(pack(Message(BARRIER, self.order["epoch"], number, frame_with(intake.seq, intake.used))))
        facts = {"left": left, "journal": self.journal.last, "rate": rate}
        requests = self.pending.requests
        notes = {**intake.notes(), "requests": requests.facts(), "forgotten": requests.forgotten()}
        notes |= {"eviction": self.eviction.notes(), **sources.notes()}
        self.saving = Snapshot(number, intake.facts() | facts, msgspec.json.encode(notes), dict(self.pending.echoes))

    def save(self) -> None:
        """Write how the gate stood at the barrier, once it has heard all outputs of what was let in before.

        And once the streams that were evicted before are on the disk.
        """
        if not self.saving:
            return
        number, facts, notes, echoes = self.saving
        outputs = self.pending.outputs_before(facts["frames"], echoes)
        if outputs is None or not self.eviction.are_kept(facts["journal"]):
            return
        self.saving = None
        folder = files.temporary_name(Path(self.order["checkpoints"]) / checkpoint.number_name(number))

        def write() -> dict[str, str]:
            self.eviction.disk.flush()
            hashes = {NOTES_FILE: files.write_bytes(folder / NOTES_FILE, notes)}
            if outputs:
                hashes[OUTPUTS_FILE] = checkpoint.write_tensors(folder / OUTPUTS_FILE, outputs)
            return hashes

        self.worker.save(number, write, **facts)


def kept(resume: str | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a gate wrote into the checkpoint that is gone on from, if one did. Raises CheckpointError."""
    notes: dict[str, Any] = {}
    outputs: dict[str, np.ndarray] = {}
    if resume:
        folder, manifest = Path(resume), read_manifest(Path(resume))
        if NOTES_FILE in manifest.sha256:
            notes = msgspec.json.decode(checkpoint.read_file(folder / NOTES_FILE, manifest))
        if OUTPUTS_FILE in manifest.sha256:
            outputs = checkpoint.read_tensors(folder / OUTPUTS_FILE, manifest)
    return notes, outputs
