"""The tables that do not lie beside what they configure."""

from typing import Annotated, Literal

from msgspec import Meta

from streamrnn.cuda.device import CPU
from streamrnn.tables import Count, Frames, NonEmpty, Rate, Section

LogFormat = Literal["plain", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Pipeline(Section, frozen=True):
    # how many consecutive stages each worker hosts, by default one each; "single": one process for all, with the gate
    # and the publisher as threads of it
    placement: list[Frames] | Literal["single"] | None = None
    devices: list[str] | str = CPU  # where each of them computes, "cpu" or "cuda:0" say; one for all, or a list
    max_streams: Frames = 64  # that clients name, open at a time; those without a name have as many places again
    # what makes room for one more: the stream that has been idle for longest, of those whose clients are gone, to come
    # back from the disk when its name does; or nothing, and frames of more streams are refused
    evict: Literal["idle", "never"] = "idle"
    block: Annotated[int, Meta(ge=2, le=2**20)] = 256  # most rows in one message; a self-supervised frame takes two
    in_flight: Frames = 1024  # most frames between gate and publisher; a client's frame waits behind them
    overload: Literal["block", "reject", "drop-oldest"] = "block"  # what becomes of frames that there is no room for

    @property
    def places(self) -> int:
        """Streams that can be open at a time: those with names, clients' own ones, and the daemon's two."""
        return 2 * self.max_streams + 2


class Sockets(Section, frozen=True):
    gate: str = "tcp://127.0.0.1:5701"  # frames in
    outputs: str = "tcp://127.0.0.1:5702"  # what the network says
    control: str = "tcp://127.0.0.1:5703"  # questions: how it is, outputs of before


class Security(Section, frozen=True):
    curve: bool = False  # encrypt all sockets above, and let only clients in that have a key: see `streamrnn keys`
    keys: NonEmpty | None = None  # the folder of keys; default: `keys` in the state folder


class State(Section, frozen=True):
    folder: NonEmpty | None = (
        None  # relative to the config's file; default: $XDG_STATE_HOME or ~/.local/state, then streamrnn/NAME
    )
    keep: Annotated[int, Meta(ge=2, le=1000)] = 4  # checkpoints: the newest two, others checkpoint_seconds apart
    checkpoint_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 60.0  # from one checkpoint to the next, at most; 0 = any
    checkpoint_frames: Count = 0  # the same in frames; 0 = any number
    recovery_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 4.0  # that catching up may take after a failure; 0 = any


class Journal(Section, frozen=True):
    enabled: bool = True  # false: what came after the last checkpoint is lost when a process dies
    acknowledge: Literal["on-disk", "written"] = "on-disk"  # what a client's frame must be before it is told
    largest: Annotated[int, Meta(ge=2**20, le=2**50)] = 2**32  # bytes of frames behind the last checkpoints


class Outputs(Section, frozen=True):
    history: Annotated[int, Meta(ge=0, le=2**40)] = 2**24  # bytes of the newest outputs that can be asked for again


class Supervision(Section, frozen=True):
    heartbeat: Annotated[float, Meta(ge=0.5, le=1e9)] = 5.0  # seconds of silence after which a worker counts as stuck
    restarts: Count = 5  # in 60 seconds; then the daemon gives up,
    fallback: Literal["cpu", "none"] = "none"  # or goes on on the CPU, where what died was on a GPU


class Health(Section, frozen=True):
    divergence: Rate = 0.0  # nats that the recent loss may rise above its lowest; 0 = any
    rate_factor: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of the learning rate, after it has gone back for that


class Log(Section, frozen=True):
    format: LogFormat = "plain"  # an event a line on standard error, as words or as an object
    level: LogLevel | None = None  # default: warning where plain, info where JSON
