"""How a vector comes into a network, as its settings say; what becomes of it: `streamrnn.kernels.entrance`."""

from collections.abc import Iterator
from typing import NamedTuple

REFUSE, FILL = "refuse", "fill"  # what is done about missing readings
ADDED = {"missing": REFUSE, "mask": False}  # settings that specs of before 0.2 lack, and what they were


class Entrance(NamedTuple):
    """What the first layer sees of a vector of `size` numbers, and what of a vector need not be there."""

    size: int = 0
    standardize: bool = False
    missing: str = REFUSE
    mask: bool = False

    @property
    def fills(self) -> bool:
        """Whether numbers may be missing."""
        return self.missing == FILL

    @property
    def inputs(self) -> int:
        """Numbers that the first layer sees."""
        return self.size * (2 if self.mask else 1)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each setting that does not go with the others, and why."""
        if self.missing not in (REFUSE, FILL):
            yield "missing", f'must be "{REFUSE}" or "{FILL}", not {self.missing!r}'
        if self.fills and not self.standardize:
            yield "missing", f'cannot be "{FILL}" without standardize = true: a channel decays to its mean'
        if self.mask and not self.fills:
            yield "mask", f'needs missing = "{FILL}"'
