"""What reads a config."""

import math
import re
from pathlib import Path

import msgspec

from benchmarks.reliability.fuzz.mutate import mutated
from benchmarks.reliability.fuzz.targets.target import Target
from benchmarks.shared.daemon import CONFIGS
from streamrnn import config
from streamrnn.cli.describe import describe

EVERY_KEY = Path(__file__).with_name("every_key.toml")
VALUES = ["nan", "inf", "-inf", "1e400", "-1", "0", "1", "1.5", "true", '""', '"\\u0000"', '"a"', "[]", "{}", "[[]]"]
VALUES += ["2026-01-01", "07:32:00", "9" * 30, "-" + "9" * 5000, "0x10", "[1, 2]", '"tcp://127.0.0.1:0"', '"ipc://"']
VALUES += ['"lstm"', '"tcp://0.0.0.0:80"', "[" * 2000, '{kind = "adam"}', "'''\n\n'''", '"\\U0010FFFF"', "1e-320"]


class Config(Target):
    """`streamrnn.config.parse`, and what is made of a config that it accepts."""

    name, share = "config", 50
    seeds = [path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))] + [EVERY_KEY.read_bytes()]

    def make(self) -> list[bytes]:
        data = self.random.choice([*self.seeds, self.seeds[-1], self.seeds[-1]])
        if self.random.random() < 0.3:
            return [mutated(self.random, data, self.seeds)]
        lines = data.decode().splitlines()
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 3])):
            self.change(lines)
        return ["\n".join(lines).encode()]

    def change(self, lines: list[str]) -> None:
        """One line."""
        at = self.random.randrange(len(lines))
        key = lines[at].partition("=")[0]
        ways = [[], [lines[at], lines[at]], [self.random.choice(lines)], [f"{key}= {self.random.choice(VALUES)}"]]
        ways += [ways[-1]] * 4 + [[lines[at].replace(key, key[: len(key) // 2])]]
        lines[at : at + 1] = self.random.choice(ways)
        lines[:] = lines or [""]

    def take(self, parts: list[bytes]) -> bool:
        try:
            found = config.parse(parts[0].decode(errors="replace"))
        except config.ConfigError as error:
            return self.refused(str(error))
        describe(found)
        numbers = re.findall(r"(?i)\b(?:nan|inf|infinity)\b", str(msgspec.to_builtins(found)))
        assert not numbers, "a number that is not finite"
        assert sum(stage.parameters for stage in config.stages(found)) > 0
        assert math.isfinite(found.rate)
        return True

    @staticmethod
    def refused(reason: str) -> bool:
        assert reason.isprintable(), "an error of more than one line"
        assert len(reason) < 1000
        return False
