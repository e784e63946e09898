"""The config is read again while the daemon runs, and what can change then is taken over."""

from collections.abc import Callable
from typing import Any

from streamrnn.config import Config, ConfigError, taken_over
from streamrnn.workers.supervision import logs
from streamrnn.workers.supervision.service_manager import ServiceManager


class ConfigReload:
    """`asked`: it is to be done. reread: gives the config anew; None: it is as it was."""

    def __init__(self, reread: Callable[[], Config] | None, manager: ServiceManager) -> None:
        self.reread, self.manager = reread, manager
        self.asked = False

    def ask(self) -> None:
        """Have it done as soon as it can be."""
        self.asked = True

    def reload(self, config: Config, take: Callable[[Config], Any]) -> None:
        """Give `take` the config as it is to be from now on; nothing where there is a fault in it, which is told."""
        self.asked = False
        with self.manager.reloading():
            try:
                wanted = self.reread() if self.reread else config
            except ConfigError as error:
                text = f"{error}; the daemon goes on with what it had"
                logs.tell("warning", "reload_failed", text, reason=str(error))
                return
            config, kept = taken_over(config, wanted)
            logs.set_up(config.log.format, config.log.level)
            take(config)
            logs.tell("info", "reloaded", "reloaded the config")
            if kept:
                text = f"{', '.join(kept)}: changes only when the daemon starts again"
                logs.tell("warning", "not_reloaded", text, keys=kept)
