"""The supervisor: starts the workers, wires them, watches them, answers for them, and brings them to an orderly end."""

import os
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamrnn import checkpoint, logs, private
from streamrnn.checkpoint import CheckpointError, Manifest
from streamrnn.config import Config, ConfigError, taken_over
from streamrnn.service import ServiceManager
from streamrnn.wire import NOT_JSON
from streamrnn.workers.commands import Commands
from streamrnn.workers.door import Door, keys_of
from streamrnn.workers.health import Health, good_checkpoint
from streamrnn.workers.kernels import compile_kernels
from streamrnn.workers.member import LARGEST, Failure, GaveUp, bind, received
from streamrnn.workers.plan import GATE, PUBLISHER, RELOAD, SIGNALS, Worker, out_of_reach, plan
from streamrnn.workers.questions import LARGEST_QUESTION, Past, Status, hello, question
from streamrnn.workers.saving import SAVE_TIMEOUT, Saving
from streamrnn.workers.state import check_network, lock, note_run, run_of
from streamrnn.workers.status import COUNTS, Rate, result, status, total

START_TIMEOUT = 60.0  # seconds until every worker must be ready
STOP_TIMEOUT = 5.0  # seconds a worker may take to end
SAVE_RETRY = 10.0  # seconds until another checkpoint is tried where one could not be written
FULL_WAIT = 1.0  # seconds from one checkpoint to the next while the journal has no room
START_PATIENCE = 10  # heartbeats that a worker may be silent while it gets ready
RESTART_SPAN = 60.0  # seconds in which restarts are counted
MESSAGES = 64  # of clients, before workers are heard again


class Died(Exception):
    """A worker is dead or stuck; the text says which and how."""

    def __init__(self, reason: str, worker: str) -> None:
        super().__init__(reason)
        self.worker = worker


class Supervisor:
    """A daemon: `start`, then `step` again and again until it returns False, then `close`.

    When a worker dies or is stuck, all of them are started anew from the last checkpoint, and the gate sends down
    again what its journal holds. Raises Failure, with one clear line, where something outside the program is not as it
    must be.
    """

    signals = SIGNALS
    reload_signal = RELOAD

    def __init__(
        self,
        config: Config,
        *,
        max_frames: int = 0,
        fused: bool = False,
        resume: bool = False,
        or_begin: bool = False,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        """resume: go on from the newest checkpoint; or_begin: or begin where nothing has been kept yet.

        reread: gives the config anew when it is to be reloaded.
        """
        self.config = config
        self.reread = reread
        self.reloading = False  # asked to
        self.health = Health()
        self.begun = 0  # number of the checkpoint begun last
        self.save_failed = False
        self.asked_to_save = False
        self.checkpoints = config.checkpoints
        private.make_folder(config.folder)
        keys = keys_of(config)
        checkpoint.make_folder(self.checkpoints, 0o700)
        self.manager = ServiceManager()
        self.lock = lock(config.folder)
        self.run, self.epoch = run_of(config.folder, resume)
        self.manifest, self.resumed = self._manifest()
        nothing = not self.resumed and not (config.folder / "journal").exists()
        if resume and nothing and (not or_begin or checkpoint.numbers(self.checkpoints)):
            raise Failure(f"nothing to resume: there is no good checkpoint of the last run in {self.checkpoints}")
        stages = len(config.layers) + 1
        self.placement = [stages] if fused else config.pipeline.placement or [1] * stages
        self.folder = Path(tempfile.mkdtemp(prefix="streamrnn-"))  # private to the user
        self.context = zmq.Context()
        options = {zmq.MAXMSGSIZE: LARGEST_QUESTION}
        self.door = Door(self.context, zmq.ROUTER, config.sockets.control, options, keys)
        self.inner: zmq.Socket | None = None
        self.commands = Commands(self.context, config.folder)
        self.max_frames: int | None = max_frames
        self.workers: dict[str, Worker] = {}
        self.own: set[int] = set()  # checkpoints of this daemon's
        self.saved = (0.0, 0)  # when the last checkpoint was begun, and frames by then
        self.plan()
        self.state = "starting"
        self.saving: Saving | None = None
        self.failures: deque[float] = deque()
        self.recoveries = 0
        self.ending = False
        self.refused = 0
        self.counted: Counter[str] = Counter()  # by workers that are no more
        self.opened = self.ended = 0.0
        self.rate = Rate()

    def _manifest(self) -> tuple[Manifest, Path | None]:
        """Where to go on from: the newest good checkpoint of this run, or the beginning."""
        spec = self.config.spec()
        for number in reversed(checkpoint.numbers(self.checkpoints)):
            folder = self.checkpoints / checkpoint.number_name(number)
            try:
                manifest = checkpoint.read_manifest(folder)
                if manifest.run not in ("", self.run):
                    continue
                checkpoint.verify(folder, manifest)
            except CheckpointError as error:
                text = f"{error}; going back to what was before it"
                logs.tell("warning", "checkpoint_damaged", text, checkpoint=str(folder))
                continue
            check_network(folder, manifest, spec)
            return msgspec.structs.replace(manifest, run=self.run), folder
        return Manifest(checkpoint.FORMAT, spec, [], [], {}, 0, {}, "", run=self.run), None

    def plan(self) -> None:
        """Who is to do what from here on."""
        self.epoch += 1
        note_run(self.config.folder, self.run, self.epoch)
        folder = self.folder / str(self.epoch)
        folder.mkdir(0o700)
        number = int(self.resumed.name) if self.resumed else -1
        score = number in self.own
        self.saved = time.monotonic(), self.manifest.score["inputs"] if score else 0
        self.completed = (self.resumed / checkpoint.MANIFEST).stat().st_mtime if self.resumed else 0.0
        made = plan(
            self.config, self.manifest, self.resumed, self.placement, folder, self.epoch, self.max_frames, score
        )
        self.workers = {worker.name: worker for worker in made}

    def start(self, tell: Callable[[str], Any]) -> None:
        """Bring everything up; returns when frames can come."""
        self.door.open()
        compile_kernels(tell)
        tell("starting the workers")
        if not self.config.journal.enabled:
            text = "journal.enabled is false: when a process dies, what came after the last checkpoint is lost"
            logs.tell("warning", "no_journal", text)
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        try:
            self.launch()
        except Died as error:
            self.recover(error)
        self.opened = time.monotonic()
        self.state = "running"

    def launch(self) -> None:
        """Start every worker; returns when the gate lets frames in. Raises Died."""
        endpoint = f"ipc://{self.folder}/{self.epoch}/control"
        self.inner = self.context.socket(zmq.ROUTER)
        self.inner.setsockopt(zmq.LINGER, 1000)
        self.inner.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        bind(self.inner, endpoint)
        with out_of_reach():
            for worker in self.workers.values():
                worker.start(endpoint)
        self.wait_for("ready", list(self.workers))
        self.order(GATE, "open", rate=self.rate_wanted)
        self.wait_for("open", [GATE])
        if self.config.journal.enabled:
            self.max_frames = None  # what is left of them stands there from now on

    def wait_for(self, state: str, names: list[str]) -> None:
        """Until those workers are in that state; as long as the gate sends old frames down, that may take its time."""
        deadline = time.monotonic() + START_TIMEOUT
        while late := [name for name in names if self.workers[name].state != state]:
            self.listen(0.1)
            if time.monotonic() > deadline and state == "ready":
                raise Died(f"not ready after {START_TIMEOUT:.0f} s: {', '.join(late)}", ", ".join(late))

    def recover(self, died: Died) -> None:
        """Start all workers anew from the last checkpoint. Raises GaveUp where that has been in vain too often."""
        begun = time.monotonic()
        while True:
            now = time.monotonic()
            self.failures.append(now)
            while now - self.failures[0] > RESTART_SPAN:
                self.failures.popleft()
            self.kill()
            if len(self.failures) > self.config.supervision.restarts:
                raise GaveUp(f"{died}; given up after {len(self.failures) - 1} restarts in {RESTART_SPAN:.0f} s")
            self.counted += Counter({name: total(self, name) for name in COUNTS})
            text = f"{died}: starting all workers from the last checkpoint"
            logs.tell("warning", "recovery", text, reason=str(died), worker=died.worker)
            self.recoveries += 1
            self.saving = None
            self.state = "recovering"
            self.manifest, self.resumed = self._manifest()
            self.plan()
            try:
                self.launch()
                break
            except Died as error:
                died = error
        self.state = "running"
        seconds = time.monotonic() - begun
        logs.tell("info", "recovered", f"recovered in {seconds:.2f} s", seconds=seconds, epoch=self.epoch)

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self.workers.values():
            if worker.process:
                worker.process.kill()
                worker.process.join()
        if self.inner:
            self.inner.close(0)
            self.inner = None

    def order(self, name: str, kind: str, **facts: Any) -> None:
        """Tell a worker what to do."""
        if self.inner:
            self.inner.send_multipart([name.encode(), msgspec.json.encode({"kind": kind, **facts})])

    def listen(self, timeout: float) -> None:
        """Hear the workers and answer clients, for so many seconds at most; see that all workers live. Raises Died."""
        self.manager.beat(long=self.state != "running")
        assert self.inner
        self.door.look()
        poller = zmq.Poller()
        poller.register(self.inner, zmq.POLLIN)
        poller.register(self.door.socket, zmq.POLLIN)
        poller.register(self.commands.socket, zmq.POLLIN)
        if poller.poll(int(timeout * 1000)):
            while self.inner.poll(0):
                identity, facts, *data = self.inner.recv_multipart()
                self.hear(self.workers[identity.decode()], msgspec.json.decode(facts), data)
            for identity, *parts in received(self.door.socket, MESSAGES):
                if answer := self.answer(identity, parts):
                    self.reply(identity, answer)
            self.refused += self.commands.hear(self.actions)
        now, silence = time.monotonic(), self.config.supervision.heartbeat
        for worker in self.workers.values():
            if worker.process and worker.process.exitcode is not None:
                raise Died(f"worker {worker.name} ended with exit code {worker.process.exitcode}", worker.name)
            if worker.process and now - worker.heard > silence * (1 if worker.state else START_PATIENCE):
                raise Died(f"worker {worker.name} has been silent for {now - worker.heard:.1f} s", worker.name)

    def reply(self, identity: bytes, answer: dict[str, Any], data: Sequence[bytes] = ()) -> None:
        """Answer a client, if it reads its answers."""
        with suppress(zmq.Again):
            self.door.socket.send_multipart([identity, msgspec.json.encode(answer), *data], zmq.DONTWAIT)

    def hear(self, worker: Worker, message: dict[str, Any], data: list[bytes]) -> None:
        """Take one report."""
        kind = message.pop("kind")
        worker.heard = time.monotonic()
        if kind == "hello":
            self.order(worker.name, "start", **worker.order)
        elif kind in ("ready", "open"):
            worker.state = kind
        elif kind == "failed":
            raise Failure(message["reason"]) if self.state == "starting" else Died(message["reason"], worker.name)
        elif kind == "status":
            worker.facts = message
        elif kind == "history":
            self.reply(bytes.fromhex(message.pop("asker")), message, data)
        elif kind == "ended":
            self.drain()
        elif kind == "saved":
            worker.facts |= message
            if self.saving and message["number"] == self.begun:
                self.saving.reports[worker.name] = message
        elif kind == "unsaved" and self.saving and message["number"] == self.begun:
            self.abandon(message["reason"])

    def answer(self, identity: bytes, parts: list[bytes]) -> dict[str, Any] | None:
        """What a client asked for: "hello", "status", or "history", which the publisher answers."""
        try:
            asked = question(parts)
        except NOT_JSON:
            self.refused += 1
            return {"error": 'ask for "hello" or "status" with a JSON object such as {"ask": "status"}'}
        if isinstance(asked, Past):
            self.order(PUBLISHER, "history", asker=identity.hex(), **msgspec.structs.asdict(asked))
            return None
        facts = self.status() if isinstance(asked, Status) else hello(self.config, self.epoch)
        return {"number": asked.number, **facts}

    def status(self) -> dict[str, Any]:
        """How things are, in plain values."""
        return status(self)

    def result(self) -> dict[str, Any]:
        """What the run came to."""
        return result(self)

    def interrupt(self) -> None:
        """What a signal asks for: an orderly end, or an end at once where there is nothing to save."""
        if self.state == "starting":
            raise Failure("stopped before it was ready")
        self.ending = True  # also where it is recovering now

    @property
    def actions(self) -> dict[str, Callable[[], Any]]:
        """What commands do; they are carried out by the next `step` that can."""
        return {
            "stop": self.interrupt,
            "reload": lambda: setattr(self, "reloading", True),
            "checkpoint": lambda: setattr(self, "asked_to_save", True),
        }

    def reload(self) -> None:
        """Read the config again, and take over what can change while the daemon runs."""
        self.reloading = False
        with self.manager.reloading():
            try:
                wanted = self.reread() if self.reread else self.config
            except ConfigError as error:
                text = f"{error}; the daemon goes on with what it had"
                logs.tell("warning", "reload_failed", text, reason=str(error))
                return
            self.config, kept = taken_over(self.config, wanted)
            logs.set_up(self.config.log.format, self.config.log.level)
            self.order(GATE, "rate", rate=self.rate_wanted)
            logs.tell("info", "reloaded", "reloaded the config")
            if kept:
                text = f"{', '.join(kept)}: changes only when the daemon starts again"
                logs.tell("warning", "not_reloaded", text, keys=kept)

    @property
    def rate_wanted(self) -> float:
        """The learning rate that is to hold."""
        return self.config.rate * self.manifest.scale

    def look_at_health(self) -> None:
        """Where the network has diverged, go back to before with a lower learning rate; what came since comes again."""
        settings, facts = self.config.health, self.workers[PUBLISHER].facts
        fault = self.health.fault(facts, settings.divergence)
        if not fault:
            return
        begins = self.workers[GATE].facts.get("journal_begins", 0)
        good = good_checkpoint(self.checkpoints, self.run, begins, self.health, settings.divergence)
        self.health.begin_anew(facts)
        scale = self.manifest.scale * settings.rate_factor
        rate = self.config.rate * scale
        if good:
            folder, manifest = good
            copy = checkpoint.next_folder(self.checkpoints)
            checkpoint.copy(folder, copy, msgspec.structs.replace(manifest, rate=rate, scale=scale))
            self.own.add(int(copy.name))
            self.recover(
                Died(f"{fault}: back to checkpoint {folder.name}, with a learning rate of {rate:.3g}", PUBLISHER)
            )
        else:
            self.manifest = msgspec.structs.replace(self.manifest, scale=scale)
            self.order(GATE, "rate", rate=rate)
            text = f"{fault}, and there is no good checkpoint to go back to: on with a learning rate of {rate:.3g}"
            logs.tell("warning", "divergence", text, learning_rate=rate)

    def drain(self) -> None:
        """Let nothing more in, take what is inside to the end, save, and stop."""
        self.ending = True
        if self.state == "running":
            self.state = "draining"
            self.manager.stopping()
            logs.tell("info", "draining", "draining: no more frames are let in")
            if self.saving is None:
                self.save(last=True)

    def save(self, last: bool) -> None:
        """Begin a checkpoint behind every frame accepted so far; no more are let in if it is the last."""
        self.begun = max(int(checkpoint.next_folder(self.checkpoints).name), self.begun + 1)
        self.saving = Saving(self.checkpoints, self.begun, last)
        self.saved = self.saving.begun, self.workers[PUBLISHER].facts.get("inputs", 0)
        self.save_failed = False
        self.asked_to_save = False
        try:
            self.saving.begin()
        except OSError as error:
            self.abandon(str(error))
            return
        self.order(GATE, "checkpoint", number=self.begun, last=last)

    def abandon(self, reason: str) -> None:
        """Do without the checkpoint that was begun; frames go on, and the journal keeps them. Raises Failure."""
        if self.saving and self.saving.last:
            raise Failure(
                f"the last checkpoint could not be written: {reason}; the journal has what came since the "
                "one before, --resume goes on from there"
            )
        self.saving, self.save_failed = None, True
        self.commands.answer_waiting(error=reason)
        text = f"checkpoint {self.begun} could not be written: {reason}; the next try is in {SAVE_RETRY:.0f} s"
        logs.tell("warning", "checkpoint_failed", text, reason=reason)
        if self.state == "draining":
            self.save(last=True)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        state, (when, frames) = self.config.state, self.saved
        done = self.workers[PUBLISHER].facts.get("inputs", 0) - frames
        if self.save_failed:
            return time.monotonic() - when >= SAVE_RETRY
        waits = FULL_WAIT if self.workers[GATE].facts.get("full") else state.checkpoint_seconds
        return 0 < waits <= time.monotonic() - when or 0 < state.checkpoint_frames <= done

    def step(self, timeout: float = 0.1) -> bool:
        """Go on for a moment; False when everything has been saved and it is time to close."""
        try:
            self.listen(timeout)
        except Died as error:
            self.recover(error)
        if self.ending:
            self.drain()
        if self.reloading and self.state == "running":
            self.reload()
        if self.saving is None:
            if self.state == "running":
                self.look_at_health()
                if self.asked_to_save or self.due():
                    self.save(last=False)
        elif not (late := [name for name in self.workers if name not in self.saving.reports]):
            try:
                return not self.complete()
            except OSError as error:
                self.abandon(str(error))
        elif self.saving.overdue:
            reason = f"the checkpoint was not complete after {SAVE_TIMEOUT:.0f} s: {', '.join(late)} did not save"
            if self.saving.last:
                raise Failure(reason)
            self.recover(Died(reason, ", ".join(late)))
        return True

    def complete(self) -> bool:
        """Make the checkpoint whole; true if it was the last."""
        assert self.saving
        saving, before = self.saving, self.manifest
        self.manifest, self.max_frames = saving.complete(self.config, before), None
        checkpoint.prune(self.checkpoints, self.config.state.keep, self.resumed)
        self.own.add(saving.number)
        self.resumed, self.completed = saving.folder, time.time()
        frames, seconds = self.manifest.frames, saving.seconds
        text = f"checkpoint {saving.number} with {frames:,} frames, written in {seconds:.2f} s"
        logs.tell("info", "checkpoint", text, number=saving.number, frames=frames, seconds=seconds)
        if not self.asked_to_save:  # else it was asked for while this one was being written
            self.commands.answer_waiting(done=f"checkpoint {saving.number}")
        self.order(GATE, "cut", number=before.journal)  # the checkpoint before it is still good
        if saving.last:
            self.ended = time.monotonic()
            return True
        self.saving = None
        if self.state == "draining":
            self.save(last=True)
        return False

    def close(self) -> None:
        """End every worker and let go of everything."""
        self.state = "stopping"
        running = [worker for worker in self.workers.values() if worker.process]
        for worker in running:
            self.order(worker.name, "stop")
        deadline = time.monotonic() + STOP_TIMEOUT
        for worker in running:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        if self.inner:
            self.inner.close()
        self.door.close()
        self.commands.socket.close()
        self.context.term()
        self.manager.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)
