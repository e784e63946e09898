"""How a vector comes into a network, as its settings say; what becomes of it: `streamrnn.kernels.entrance`."""

from collections.abc import Iterator
from typing import Any, NamedTuple

REFUSE, FILL = "refuse", "fill"  # what is done about missing readings
NANOSECONDS = 10**9
PERIODS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "year": 31_556_952}  # seconds; a week begins on a Thursday
# settings that specs of before 0.2 lack, and what they were
ADDED: dict[str, Any] = {"missing": REFUSE, "mask": False, "calendar": (), "elapsed": False}


class Entrance(NamedTuple):
    """What the first layer sees of a vector of `size` numbers, and what of a vector need not be there."""

    size: int = 0
    standardize: bool = False
    missing: str = REFUSE
    mask: bool = False
    calendar: tuple[str, ...] = ()
    elapsed: bool = False

    @property
    def fills(self) -> bool:
        """Whether numbers may be missing."""
        return self.missing == FILL

    @property
    def inputs(self) -> int:
        """Numbers that the first layer sees."""
        return self.size * (2 if self.mask else 1) + self.beside

    @property
    def beside(self) -> int:
        """Numbers that the first layer sees of a frame's time."""
        return 2 * len(self.calendar) + self.elapsed

    @property
    def settings(self) -> list[float]:
        """For `streamrnn.kernels.entrance`."""
        periods = [float(PERIODS[name] * NANOSECONDS) for name in self.calendar]
        return [float(self.elapsed), *periods] if self.beside else []

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each setting that does not go with the others, and why."""
        if self.missing not in (REFUSE, FILL):
            yield "missing", f'must be "{REFUSE}" or "{FILL}", not {self.missing!r}'
        if self.fills and not self.standardize:
            yield "missing", f'cannot be "{FILL}" without standardize = true: a channel decays to its mean'
        if wrong := [name for name in self.calendar if name not in PERIODS]:
            yield "calendar", f"must be of {', '.join(PERIODS)}, not {wrong[0]!r}"
        if self.beside and not self.standardize:
            yield "calendar" if self.calendar else "elapsed", "needs standardize = true"
        if self.mask and not self.fills:
            yield "mask", f'needs missing = "{FILL}"'
