"""The table of readouts: what the last linear map means as an output. A readout is a file here and a line below.

Raw output = h W_hy + b_y. Losses are in nats. A file has

    activate(y)    from the raw output to what it stands for, in place
    score(y, token, target, scales, floors, most, d, losses)
                   the losses of an output against a token, or a vector in scales; d becomes the gradient of the raw

One with experts has instead

    predict(settings, memory, stats, h, begin, work, presented)
    learn(settings, memory, stats, target, scales, floors, learning, work, d, losses)
                   d becomes the gradient with respect to h; see `readouts.forecast`
    dismiss(settings, memory, stats, what)
                   what a client says of an alarm, see `kernels.anomaly.alarm`

Of a target that is a vector (K,), scales, floors and most are those of `kernels.standardize`, where it is standardised;
else 1, 0 and infinity. A channel whose scale is 0 adds nothing to loss and gradient.
"""

from typing import NamedTuple

# What a target costs is LOSS, and of a vector also RELATIVE, the same before it is brought to the stream's units, and
# from CHANNELS on the part of each channel in LOSS.
LOSS, RELATIVE, CHANNELS = range(3)
FORECASTS = 4  # of a horizon: mean, spread, and the ends of an interval; the weights of experts lie behind them


class Kind(NamedTuple):
    """What a readout of `size` gives and is compared with."""

    numbers: int = 1  # in an output, for each of its size, where no options say it
    classes: bool = False  # targets are tokens, and outputs probabilities; else they are vectors
    experts: bool = False  # it has experts, and no parameters of its own

    def losses(self, size: int) -> int:
        """How many numbers say what a target costs."""
        return 1 if self.classes else CHANNELS + size

    def beside(self, size: int) -> int:
        """How many numbers of a daemon lie beside an output: what a target costs, and then the target (size,)."""
        return self.losses(size) + (0 if self.classes else size)


READOUTS = {
    "Softmax": Kind(classes=True),
    "Linear": Kind(),
    "Gaussian": Kind(numbers=2),
    "Forecast": Kind(experts=True),
}
