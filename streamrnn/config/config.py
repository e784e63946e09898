"""The whole file, and what follows from it at once."""

import os
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamrnn.alarms import AnyReceiver
from streamrnn.config.sections import (
    Health,
    Journal,
    Log,
    Outputs,
    Pipeline,
    Security,
    Sockets,
    State,
    Supervision,
)
from streamrnn.model.optimizers import AnyOptimizer
from streamrnn.model.tables import Anomaly, AnyReadout, Forecast, Input, Layer, Learning
from streamrnn.protocol.stream_names import SOURCE
from streamrnn.sinks import AnySink, Destination
from streamrnn.sources import AnySource, NoSource
from streamrnn.tables import Section


class Config(Section, frozen=True):
    name: str
    input: Input
    layers: Annotated[list[Layer], Meta(min_length=1)]
    readout: AnyReadout
    optimizer: AnyOptimizer
    anomaly: Anomaly | None = None
    predict: Literal["next", "target"] = "next"
    learning: Learning = Learning()
    pipeline: Pipeline = Pipeline()
    source: AnySource = NoSource()
    backfill: AnySource | None = None  # a past that is learned first, in the stream of the first source
    sources: list[AnySource] = msgspec.field(default_factory=list)  # several, in the place of source
    sinks: list[AnySink] = msgspec.field(default_factory=list)  # where outputs go, beside those who subscribe
    alarms: list[AnyReceiver] = msgspec.field(default_factory=list)  # where alarms go
    sockets: Sockets = Sockets()
    security: Security = Security()
    state: State = State()
    journal: Journal = Journal()
    outputs: Outputs = Outputs()
    supervision: Supervision = Supervision()
    health: Health = Health()
    log: Log = Log()

    def __post_init__(self) -> None:
        if self.anomaly and isinstance(self.readout, Forecast):
            readout = msgspec.structs.replace(self.readout, anomaly=self.anomaly)
            msgspec.structs.force_setattr(self, "readout", readout)

    @property
    def all_sources(self) -> list[AnySource]:
        """Those of the daemon's own: none where frames come only from clients."""
        return [table for table in self.sources or [self.source] if not isinstance(table, NoSource)]

    @property
    def named_sources(self) -> list[tuple[AnySource, str]]:
        """Each with the name of its stream."""
        names = (SOURCE if not k else f"{SOURCE} {k + 1}" for k in count())
        return [(table, table.stream or name) for table, name in zip(self.all_sources, names, strict=False)]

    @property
    def past(self) -> tuple[AnySource, str] | None:
        """The past that is learned first, and the name of its stream."""
        first = next((name for _, name in self.named_sources), SOURCE)
        return (self.backfill, self.backfill.stream or first) if self.backfill else None

    @property
    def source_line(self) -> str:
        """What they read, in a line."""
        past = [f"first {self.backfill.line}"] if self.backfill else []
        return "; ".join([*past, *(table.line for table in self.all_sources)]) or self.source.line

    @property
    def destinations(self) -> list[Destination]:
        """What outputs and alarms go to."""
        return [*self.sinks, *self.alarms]

    @property
    def reads_stdin(self) -> bool:
        """Whether one of them is standard input."""
        return any(getattr(table, "path", None) == "-" for table in self.all_sources)

    @property
    def folder(self) -> Path:
        """The state folder, with its default filled in."""
        if self.state.folder is not None:
            return Path(self.state.folder)
        base = os.environ.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore a relative one
            base = os.path.expanduser("~/.local/state")
        return Path(base) / "streamrnn" / self.name

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return Path(self.security.keys) if self.security.keys else self.folder / "keys"

    def spec(self) -> dict[str, Any]:
        """What `Network.from_spec` needs."""
        layers, size = [], self.input.entrance.inputs
        for layer in self.layers:
            layers.append(
                {
                    "cell": layer.name,
                    "input_size": size,
                    "hidden_size": layer.units,
                    "output_size": layer.output,
                }
            )
            size = layer.output or layer.units
        return {
            "layers": layers,
            "readout": {"kind": self.readout.name, "size": self.readout.size, **self.readout.options},
            "optimizer": {"kind": type(self.optimizer).__name__, **msgspec.structs.asdict(self.optimizer)},
            **{key: value for key, value in msgspec.structs.asdict(self.learning).items() if key != "enabled"},
            "predict": self.predict,
            "standardize": self.input.standardize,
            "missing": self.input.missing,
            "mask": self.input.mask,
            "calendar": self.input.calendar,
            "elapsed": self.input.elapsed,
        }

    @property
    def parts(self) -> list[str]:
        """The cells, the readout and the optimiser, by the names of their classes, each once."""
        spec = self.spec()
        names = [*(layer["cell"] for layer in spec["layers"]), spec["readout"]["kind"], spec["optimizer"]["kind"]]
        return list(dict.fromkeys(names))

    @property
    def single(self) -> bool:
        """Whether all workers are threads of one process."""
        return self.pipeline.placement == "single"

    @property
    def placement(self) -> list[int]:
        """How many consecutive stages each worker hosts."""
        stages, placement = len(self.layers) + 1, self.pipeline.placement
        return [stages] if placement == "single" else placement or [1] * stages

    @property
    def devices(self) -> list[str]:
        """Where each worker computes."""
        given = self.pipeline.devices
        return [given] * len(self.placement) if isinstance(given, str) else given

    @property
    def rate(self) -> float:
        """The learning rate that is wanted."""
        return self.optimizer.learning_rate if self.learning.enabled else 0.0

    @property
    def checkpoints(self) -> Path:
        """Where the daemon's checkpoints lie."""
        return self.folder / "checkpoints"
