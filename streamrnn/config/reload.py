"""What can change while a daemon runs."""

import msgspec

from streamrnn.config.config import Config
from streamrnn.tables import Section

RELOADS = {  # of tables named whole, every key
    "learning.enabled",
    "log",
    "optimizer.learning_rate",
    "state.keep",
    "state.checkpoint_seconds",
    "state.checkpoint_frames",
    "state.recovery_seconds",
    "supervision",
    "health",
}


def taken_over(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """A running daemon's config with what can change from another, and the keys that differ and cannot."""
    kept = []
    for name in Config.__struct_fields__:
        old, new = getattr(running, name), getattr(wanted, name)
        if isinstance(old, Section) and type(old) is type(new):
            for key in old.__struct_fields__:
                if {name, f"{name}.{key}"} & RELOADS:
                    old = msgspec.structs.replace(old, **{key: getattr(new, key)})
                elif getattr(old, key) != getattr(new, key):
                    kept.append(f"{name}.{key}")
            running = msgspec.structs.replace(running, **{name: old})
        elif old != new:
            kept.append(name)
    return running, kept
