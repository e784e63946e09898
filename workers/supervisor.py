"""The supervisor: starts the workers, wires them, watches them, answers for them, and brings them to an orderly end."""

import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from streamrnn.config import Config
from streamrnn.cuda.device import CPU
from streamrnn.storage import private
from streamrnn.storage.manifest import Manifest
from streamrnn.workers.authenticated_socket import AuthenticatedSocket, keys_of
from streamrnn.workers.compilation import PARTS, compile_kernels
from streamrnn.workers.supervision import logs, runs, socket_folder
from streamrnn.workers.supervision.checkpoint_barrier import SAVE_TIMEOUT, CheckpointBarrier
from streamrnn.workers.supervision.clock import RunningClock
from streamrnn.workers.supervision.command_socket import CommandSocket
from streamrnn.workers.supervision.config_reload import ConfigReload
from streamrnn.workers.supervision.control_protocol import LARGEST_QUESTION, hello
from streamrnn.workers.supervision.control_socket import ControlSocket
from streamrnn.workers.supervision.divergence import Divergence
from streamrnn.workers.supervision.placement import GATE, PUBLISHER, WorkerHandle, plan
from streamrnn.workers.supervision.restarts import Restarts
from streamrnn.workers.supervision.run_checkpoints import RunCheckpoints
from streamrnn.workers.supervision.service_manager import ServiceManager
from streamrnn.workers.supervision.sinks import SinkProcess
from streamrnn.workers.supervision.starting_point import starting_point
from streamrnn.workers.supervision.status import COUNTS, Passed, Rate, catching_up, known, result, status, total
from streamrnn.workers.supervision.wording import alarm_line, left_line
from streamrnn.workers.supervision.worker_group import Died, WorkerGroup
from streamrnn.workers.worker import RELOAD, SIGNALS, Failure

START_TIMEOUT = 60.0  # seconds until every worker must be ready,
DEVICE_TIMEOUT = 300.0  # and where one of them compiles for a device
ALARMS = 3  # newest ones, that are shown


def as_one(config: Config) -> Config:
    """The config with all stages in one worker. Raises Failure where they are on several devices."""
    places = set(config.devices)
    if len(places) > 1:
        several = " and ".join(sorted(places))
        raise Failure(f"--fused has one worker for all stages, and pipeline.devices names {several}: name one")
    pipeline = msgspec.structs.replace(config.pipeline, placement="single", devices=places.pop())
    return msgspec.structs.replace(config, pipeline=pipeline)


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
        new: bool = False,
        reread: Callable[[], Config] | None = None,
    ) -> None:
        """It goes on from what is there, or begins.

        resume: something must be there. new: it begins, and what is there stays.
        reread: gives the config anew when it is to be reloaded.
        """
        self.config = config
        self.clock = RunningClock()
        self.checkpoints = config.checkpoints
        private.make_folder(config.folder)
        keys = keys_of(config)
        self.manager = ServiceManager()
        self.config_reload = ConfigReload(reread, self.manager)
        self.lock, self.run, self.epoch, newest = starting_point(config, new, resume)
        if fused:
            self.config = config = as_one(config)
        self.folder = socket_folder.folder_for(config.folder)
        shutil.rmtree(self.folder, ignore_errors=True)  # what a killed daemon has left
        self.context = zmq.Context()
        options = {zmq.MAXMSGSIZE: LARGEST_QUESTION}
        self.frontend = AuthenticatedSocket(self.context, zmq.ROUTER, config.sockets.control, options, keys)
        self.control = ControlSocket(
            self.frontend, self.order, lambda: hello(self.config, self.run, self.epoch), self.status
        )
        self.commands = CommandSocket(self.context, config.folder)
        self.bad_commands = 0
        self.group = WorkerGroup(self.context, self.clock)
        self.sinks = SinkProcess(self.context, config, self.folder, self.clock)
        self.run_checkpoints = RunCheckpoints(
            config, self.run, newest, max_frames, self.clock, self.commands.answer_waiting
        )
        self.plan()
        self.state = "starting"
        self.restarts = Restarts()
        self.recoveries = 0
        self.divergence = Divergence(config, self.run)
        self.ending = False
        self.counted: Counter[str] = Counter()  # by workers that are no more
        self.opened = self.ended = 0.0
        self.replaying_since = 0.0  # when the journal began to go down again
        self.rate = Rate()
        self.passed = Passed()
        self.alarms: deque[dict[str, Any]] = deque(maxlen=ALARMS)
        self.known: dict[str, dict[str, Any]] = {}  # of workers, as they were before they were started again

    def plan(self) -> None:
        """Who is to do what from here on."""
        self.epoch += 1
        runs.note_run(self.config.folder, self.run, self.epoch)
        folder = socket_folder.make_anew(self.folder, self.epoch)
        self.run_checkpoints.go_on()
        max_frames = self.run_checkpoints.max_frames
        made = plan(self.config, self.manifest, self.resumed, folder, self.epoch, max_frames)
        self.group.workers = {worker.name: worker for worker in made}

    def start(self, tell: Callable[[str], Any], show: Callable[[str], Any] | None = None) -> None:
        """Bring everything up; returns when frames can come. See `compile_kernels` for tell and show."""
        self.frontend.open()
        compile_kernels(self.config.parts, tell, show)
        os.environ[PARTS] = ",".join(self.config.parts)
        tell("starting the workers")
        if not self.config.journal.enabled:
            text = "journal.enabled is false: when a process dies, what came after the last checkpoint is lost"
            logs.tell("warning", "no_journal", text)
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        try:
            self.launch()
        except Died as error:
            self.recover(error)
        self.sinks.start()
        while self.state != "running":
            self.hear_workers(0.1)
            if left := catching_up(self):
                tell(f"catching up: {left_line(left)}")
        self.opened = time.monotonic()

    def launch(self) -> None:
        """Start every worker, and have the gate send down what the journal holds; new frames come then. Raises Died."""
        self.group.start(f"ipc://{self.folder}/{self.epoch}/control", self.config.single)
        compiling = any(worker.device != CPU for worker in self.workers.values())
        longest = DEVICE_TIMEOUT if compiling else START_TIMEOUT
        deadline = self.clock.seconds + longest
        while late := [worker.name for worker in self.workers.values() if worker.state != "ready"]:
            self.listen(0.1)
            if self.clock.seconds > deadline:
                raise Died(f"not ready after {longest:.0f} s: {', '.join(late)}", ", ".join(late))
        self.order(GATE, "open", rate=self.rate_wanted)
        self.state, self.replaying_since = "catching up", time.monotonic()

    def hear_workers(self, timeout: float) -> None:
        """Listen, start all workers anew where one has died, and see when they have caught up."""
        try:
            self.listen(timeout)
        except Died as error:
            self.recover(error)
        if self.state == "catching up" and self.workers[GATE].state == "open":
            self.state = "running"
            if self.config.journal.enabled:
                self.run_checkpoints.max_frames = None  # what is left of them stands there from now on
            if (seconds := self.restarts.recovered()) is not None:
                logs.tell("info", "recovered", f"recovered in {seconds:.2f} s", seconds=seconds, epoch=self.epoch)

    def recover(self, died: Died) -> None:
        """Start all workers anew from the last checkpoint. Raises GaveUp where that has been in vain too often."""
        while True:
            self.restarts.count()
            self.group.kill()
            if self.restarts.too_many(self.config.supervision.restarts) and self.falls_back(died):
                self.leave_device(died)
            self.restarts.check(self.config.supervision.restarts, str(died))
            self.counted += Counter({name: total(self, name) for name in COUNTS})
            self.known = {name: known(self, name) for name in self.workers}
            text = f"{died}: starting all workers from the last checkpoint"
            logs.tell("warning", "recovery", text, reason=str(died), worker=died.worker)
            self.recoveries += 1
            self.state = "recovering"
            self.run_checkpoints.find(self.config)
            if not self.config.journal.enabled:
                self.passed.go_back(self.manifest.score.get("inputs", 0))
                self.alarms.clear()
            self.plan()
            try:
                self.launch()
                break
            except Died as error:
                died = error

    def falls_back(self, died: Died) -> bool:
        """Whether a worker was on a device, and there is to do without it."""
        worker = self.workers.get(died.worker)
        return self.config.supervision.fallback == CPU and worker is not None and worker.device != CPU

    def leave_device(self, died: Died) -> None:
        """Go on on the CPU with the worker that has died too often."""
        stages = [worker for worker in self.workers.values() if worker.order.get("device")]
        places = [CPU if worker.name == died.worker else worker.device for worker in stages]
        device = self.workers[died.worker].device
        pipeline = msgspec.structs.replace(self.config.pipeline, devices=places)
        self.config = msgspec.structs.replace(self.config, pipeline=pipeline)
        self.restarts.forget()
        text = f"{died.worker} goes on on the CPU: it has died too often on {device}"
        logs.tell("warning", "fallback", text, worker=died.worker, device=device)

    def order(self, name: str, kind: str, **facts: Any) -> None:
        """Tell a worker what to do."""
        self.group.order(name, kind, **facts)

    def listen(self, timeout: float) -> None:
        """Hear the workers and answer clients, for so many seconds at most; see that all workers live. Raises Died."""
        self.manager.beat(long=self.state != "running")
        self.frontend.look()
        poller = zmq.Poller()
        self.group.register(poller)
        self.sinks.register(poller)
        poller.register(self.frontend.socket, zmq.POLLIN)
        poller.register(self.commands.socket, zmq.POLLIN)
        if ready := dict(poller.poll(int(timeout * 1000))):
            for worker, kind, message, data in self.group.reports():
                self.hear(worker.name, kind, message, data)
            self.control.hear()
            self.bad_commands += self.commands.hear(self.actions)
        self.sinks.hear(ready, self.config.supervision.heartbeat)
        self.group.see_that_all_live(ready, self.config.supervision.heartbeat)

    def hear(self, worker: str, kind: str, message: dict[str, Any], data: list[bytes]) -> None:
        """Take one report."""
        if kind == "open":
            self.passed.opened(message["accepted"])
        elif kind == "failed":
            raise Died(message["reason"], worker) if self.opened else Failure(message["reason"])
        elif kind == "warning":
            logs.tell("warning", message["event"], message["text"])
        elif kind == "alarm":
            self.take_alarm(message)
        elif kind in ("history", "streams"):
            self.control.reply(bytes.fromhex(message.pop("asker")), message, data)
        elif kind == "ended":
            self.drain()
        elif self.saving and kind == "saved" and message["number"] == self.saving.number:
            self.saving.reports[worker] = message
        elif self.saving and kind == "unsaved" and message["number"] == self.saving.number:
            self.abandon(message["reason"])
        if "inputs" in message:
            self.passed.look(message["inputs"], message["seq"])

    def take_alarm(self, alarm: dict[str, Any]) -> None:
        """Log an alarm, and keep it to be shown; one that comes again in a replay only counts once."""
        if not self.alarms or alarm["seq"] > self.alarms[-1]["seq"]:
            self.alarms.append(alarm)
            logs.tell("warning", "alarm", alarm_line(alarm), **alarm)

    def step(self, timeout: float = 0.1) -> bool:
        """Go on for a moment; False when everything has been saved and it is time to close."""
        if self.ended:
            return self.wait_for_sinks(timeout)
        self.hear_workers(timeout)
        if self.ending:
            self.drain()
        if self.config_reload.asked and self.state == "running":
            self.config_reload.reload(self.config, self.take_over)
        if self.saving is None:
            if self.state == "running":
                self.look_at_health()
                if self.run_checkpoints.due(self.config.state, self.workers):
                    self.save(last=False)
        elif not (late := [name for name in self.workers if name not in self.saving.reports]):
            try:
                self.complete()
                return not (self.ended and self.sinks.finished)
            except OSError as error:
                self.abandon(str(error))
        elif self.saving.overdue:
            reason = f"the checkpoint was not complete after {SAVE_TIMEOUT:.0f} s: {', '.join(late)} did not save"
            if self.saving.last:
                raise Failure(reason)
            self.recover(Died(reason, ", ".join(late)))
        return True

    def wait_for_sinks(self, timeout: float) -> bool:
        """Behind the last checkpoint: whether sinks are still writing what came before it."""
        try:
            self.listen(timeout)
        except Died:  # what they have not written is in the checkpoint
            return False
        return not self.sinks.finished

    def interrupt(self) -> None:
        """What a signal asks for: an orderly end, or an end at once where there is nothing to save."""
        if not self.opened:
            raise Failure("stopped before it was ready")
        self.ending = True  # also where it is recovering now

    @property
    def actions(self) -> dict[str, Callable[[], Any]]:
        """What commands do; they are carried out by the next `step` that can."""
        return {"stop": self.interrupt, "reload": self.config_reload.ask, "checkpoint": self.run_checkpoints.ask}

    def take_over(self, config: Config) -> None:
        """Let a config that has been reloaded hold."""
        self.config = config
        self.order(GATE, "rate", rate=self.rate_wanted)

    @property
    def rate_wanted(self) -> float:
        """The learning rate that is to hold."""
        return self.config.rate * self.manifest.scale

    def look_at_health(self) -> None:
        """Where the network has diverged, go back to before with a lower learning rate; what came since comes again."""
        begins = self.workers[GATE].facts.get("journal_begins", 0)
        setback = self.divergence.look(self.config, self.manifest.scale, begins, self.workers[PUBLISHER].facts)
        if setback and setback.goes_back:
            self.recover(Died(setback.text, PUBLISHER))
        elif setback:
            self.run_checkpoints.set_scale(setback.scale)
            self.order(GATE, "rate", rate=setback.rate)
            logs.tell("warning", "divergence", setback.text, learning_rate=setback.rate)

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
        if self.config.destinations and self.config.journal.enabled:
            self.order(PUBLISHER, "written", place=self.sinks.safe)
        saving = self.run_checkpoints.begin(last, self.workers)
        try:
            saving.begin()
        except OSError as error:
            self.abandon(str(error))
            return
        self.order(GATE, "checkpoint", number=saving.number, last=last)

    def abandon(self, reason: str) -> None:
        """Do without the checkpoint that was begun; frames go on, and the journal keeps them. Raises Failure."""
        self.run_checkpoints.abandon(reason)
        if self.state == "draining":
            self.save(last=True)

    def complete(self) -> None:
        """Make the checkpoint whole; if it was the last, what is left is for sinks to write the rest."""
        self.order(GATE, "cut", number=self.run_checkpoints.complete(self.config))
        assert self.saving
        if self.saving.last:
            self.ended = time.monotonic()
            self.sinks.finish()
            return
        self.run_checkpoints.saving = None
        if self.state == "draining":
            self.save(last=True)

    def close(self) -> None:
        """End every worker and let go of everything."""
        self.state = "stopping"
        self.sinks.stop()
        self.group.stop()
        self.frontend.close()
        self.commands.socket.close()
        self.context.term()
        self.manager.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

    # How things are, as `streamrnn.workers.supervision.status` and the command line read it:

    def status(self) -> dict[str, Any]:
        """How things are, in plain values."""
        return status(self)

    def result(self) -> dict[str, Any]:
        """What the run came to."""
        return result(self)

    @property
    def workers(self) -> dict[str, WorkerHandle]:
        """By name, in the order of the pipeline."""
        return self.group.workers

    @property
    def refused(self) -> int:
        """Messages that were no questions, and no commands."""
        return self.control.refused + self.bad_commands

    @property
    def manifest(self) -> Manifest:
        """Of the newest checkpoint, or of the beginning of the run."""
        return self.run_checkpoints.manifest

    @property
    def resumed(self) -> Path | None:
        """The folder of the newest checkpoint, None before the first."""
        return self.run_checkpoints.resumed

    @property
    def saving(self) -> CheckpointBarrier | None:
        """The checkpoint that is being written."""
        return self.run_checkpoints.saving
