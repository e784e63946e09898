"""Golden bits: 2,000 frames of known numbers give the same parameters and the same losses on every machine.

The inputs are made from integers. The golden values were written down on x86-64, and those of rnn, lstm and gru without
standardisation found again on 64-bit ARM; they are to change only where a commit says that it changes bits:
`python -m tests.test_golden` prints the table.
"""

from collections.abc import Iterator
from hashlib import sha256
from itertools import product
from math import nan
from pathlib import Path

import numpy as np
import pytest

import streamrnn as sr
from streamrnn.kernels.readouts import RELATIVE
from streamrnn.model.layers import CELLS as LAYERS

FRAMES, STREAMS, SIZE = 2000, 3, 7
CELLS = {name.lower(): cell for name, cell in LAYERS.items()}
OPTIMIZERS = [
    sr.Adam(5e-3),
    sr.SGD(0.05, momentum=0.9),
    sr.RMSprop(2e-3, decay_steps=100),
    sr.Adagrad(0.05),
]
TASKS = ["tokens", "gaussian", "linear"]  # what is predicted: the next token, the next vector, a target
CASES = list(product(CELLS, (1, 2), (0, 1), TASKS))

# cell, layers, gradient_delay, task: parameters_sha256, the first 16 digits; the sum of all losses
GOLDEN = {
    ("rnn", 1, 0, "tokens"): ("7bcc10413dae363f", "0x1.f365e9ded7180p+11"),
    ("rnn", 1, 0, "gaussian"): ("f2b07231dc4cf0d7", "0x1.e7880519d3038p+13"),
    ("rnn", 1, 0, "linear"): ("0514c826c1d43052", "0x1.c4d0507b2dfa4p+7"),
    ("rnn", 1, 1, "tokens"): ("bda4c12e340ece64", "0x1.0e709f3ae16a7p+12"),
    ("rnn", 1, 1, "gaussian"): ("1c9ede6f928c040c", "0x1.d6388c9cf5a08p+13"),
    ("rnn", 1, 1, "linear"): ("2e735e46e2fcf6c4", "0x1.c5c62f85ded3bp+9"),
    ("rnn", 2, 0, "tokens"): ("a1e9048fedff3011", "0x1.ebc03f83d280bp+11"),
    ("rnn", 2, 0, "gaussian"): ("c6028dca0f2f1a9c", "0x1.a27e49cd22708p+13"),
    ("rnn", 2, 0, "linear"): ("1913dbc72e56a4a9", "0x1.248c15ee9c469p+9"),
    ("rnn", 2, 1, "tokens"): ("2529ff4384d593c3", "0x1.f49e3247e1f69p+11"),
    ("rnn", 2, 1, "gaussian"): ("644ca41df9259e52", "0x1.a9d71eabce42ap+13"),
    ("rnn", 2, 1, "linear"): ("eca9da663ff5fe4d", "0x1.551db847f0997p+8"),
    ("lstm", 1, 0, "tokens"): ("c5abd286620deca0", "0x1.e24ebb6032393p+11"),
    ("lstm", 1, 0, "gaussian"): ("02ee6a0f08a413bd", "0x1.8ea60c0aa0461p+13"),
    ("lstm", 1, 0, "linear"): ("170914208dd82935", "0x1.6d55bbb3300d9p+7"),
    ("lstm", 1, 1, "tokens"): ("2489b1719377fa1e", "0x1.e3806104139bcp+11"),
    ("lstm", 1, 1, "gaussian"): ("7b4e0338944fc7b4", "0x1.7ca738f5c7780p+13"),
    ("lstm", 1, 1, "linear"): ("b7ab9d47b6c2efea", "0x1.200294c503ad9p+9"),
    ("lstm", 2, 0, "tokens"): ("70e41ea4205a7f50", "0x1.e6df4dd2cbc26p+11"),
    ("lstm", 2, 0, "gaussian"): ("290d16252dd3a040", "0x1.7b15df911e47ap+13"),
    ("lstm", 2, 0, "linear"): ("1cdc3cdce09002d8", "0x1.c333efd61ee22p+9"),
    ("lstm", 2, 1, "tokens"): ("e9d7c3a4e652a05d", "0x1.e8cff70f74ef8p+11"),
    ("lstm", 2, 1, "gaussian"): ("835096791a2b6c3f", "0x1.88ef4ec2a9413p+13"),
    ("lstm", 2, 1, "linear"): ("8fdd82c321d95d7d", "0x1.e88c088221ad9p+8"),
    ("gru", 1, 0, "tokens"): ("c772b57b6b418cbb", "0x1.ddc3747acf74dp+11"),
    ("gru", 1, 0, "gaussian"): ("ad66d78274bab4d9", "0x1.a0f320578888dp+13"),
    ("gru", 1, 0, "linear"): ("a815b624f4cc2d36", "0x1.8eb6eb751d66ep+6"),
    ("gru", 1, 1, "tokens"): ("3187c43b6e3d819b", "0x1.dedb2cd24df4fp+11"),
    ("gru", 1, 1, "gaussian"): ("e01bb302d7d7753f", "0x1.87ec7f657c827p+13"),
    ("gru", 1, 1, "linear"): ("a96572f13a031dfa", "0x1.5467b595a13b0p+9"),
    ("gru", 2, 0, "tokens"): ("f25ccadb11d782b5", "0x1.e2f9e8ff77d79p+11"),
    ("gru", 2, 0, "gaussian"): ("f30d5a27f7ba281c", "0x1.81325e47fbf8fp+13"),
    ("gru", 2, 0, "linear"): ("837eb6ab8b7ceedb", "0x1.449daac9965a7p+9"),
    ("gru", 2, 1, "tokens"): ("9683b4b19db0dae6", "0x1.e675ae095efb1p+11"),
    ("gru", 2, 1, "gaussian"): ("3cb1a984f83337f6", "0x1.8216857a78923p+13"),
    ("gru", 2, 1, "linear"): ("a93136cc342cf614", "0x1.72559d78c0549p+8"),
    ("peephole", 1, 0, "tokens"): ("b9ebdf5f8fbe9afa", "0x1.e2526f8aaea28p+11"),
    ("peephole", 1, 0, "gaussian"): ("fb4eed97aa8a6732", "0x1.8e8b69919305dp+13"),
    ("peephole", 1, 0, "linear"): ("dcf8b9bff49bbc50", "0x1.6d3d29875fab6p+7"),
    ("peephole", 1, 1, "tokens"): ("14d8e6a6a541eb93", "0x1.e3d977c650629p+11"),
    ("peephole", 1, 1, "gaussian"): ("ee2a77e6c2468fcf", "0x1.7ca4053e14c81p+13"),
    ("peephole", 1, 1, "linear"): ("cdf40a76a7d1d0ec", "0x1.1fa5dceaf9ed6p+9"),
    ("peephole", 2, 0, "tokens"): ("2d90516bd6cebf38", "0x1.e6ece22b05855p+11"),
    ("peephole", 2, 0, "gaussian"): ("a8504fdfa990fb18", "0x1.7b07b8de3675ap+13"),
    ("peephole", 2, 0, "linear"): ("238e2b09b06e226b", "0x1.c26611ec8e876p+9"),
    ("peephole", 2, 1, "tokens"): ("4a9b58767bd3b211", "0x1.e8c4cf7c47245p+11"),
    ("peephole", 2, 1, "gaussian"): ("865835b5cbe701ec", "0x1.88fd8f31fc76dp+13"),
    ("peephole", 2, 1, "linear"): ("b4cb022cd05b0e0f", "0x1.efaed82530da6p+8"),
    ("coupled", 1, 0, "tokens"): ("3809a4bc83fc1254", "0x1.e035f32ccb48ap+11"),
    ("coupled", 1, 0, "gaussian"): ("b35023ecfef20e96", "0x1.896dc2eb924bdp+13"),
    ("coupled", 1, 0, "linear"): ("f620b9cb5082d88f", "0x1.79a93e35a78b3p+7"),
    ("coupled", 1, 1, "tokens"): ("22220b21f654e0ee", "0x1.df5d137b36c7ep+11"),
    ("coupled", 1, 1, "gaussian"): ("c0ba322c4164041d", "0x1.79aa5c0a97c52p+13"),
    ("coupled", 1, 1, "linear"): ("210b5464a513967f", "0x1.58f72145e2969p+9"),
    ("coupled", 2, 0, "tokens"): ("8a898dbfe9906d33", "0x1.e624fd9de5476p+11"),
    ("coupled", 2, 0, "gaussian"): ("721b569767c584a2", "0x1.7dabcf5c82020p+13"),
    ("coupled", 2, 0, "linear"): ("46ae3e6b1bfad9f7", "0x1.df71d47b95177p+9"),
    ("coupled", 2, 1, "tokens"): ("ec345e4b3ea05894", "0x1.e714ce24c3156p+11"),
    ("coupled", 2, 1, "gaussian"): ("14b41e1fe5706614", "0x1.88923475faf6fp+13"),
    ("coupled", 2, 1, "linear"): ("0b6640577701e601", "0x1.b911ec5156083p+8"),
}


def numbers() -> Iterator[int]:
    """Pseudorandom integers of 32 bits (Knuth's linear congruential generator)."""
    state = 1
    while True:
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        yield state >> 32


def network(cell: str, layers: int, delay: int, task: str) -> sr.Network:
    """Wide layers where there is one, odd ones where there are two, and each optimiser and each readout in turn."""
    units = [72] if layers == 1 else [24, 19]
    stack = [CELLS[cell](below, above) for below, above in zip([SIZE, *units], units, strict=False)]
    readout = {"tokens": sr.Softmax, "gaussian": sr.Gaussian, "linear": sr.Linear}[task](SIZE)
    optimizer = OPTIMIZERS[CASES.index((cell, layers, delay, task)) % len(OPTIMIZERS)]
    return sr.Network(
        stack,
        readout,
        optimizer,
        window=8,
        accumulate=layers,
        gradient_delay=delay,
        predict="target" if task == "linear" else "next",
        standardize=task == "gaussian" or (task == "linear" and delay == 1),
    )


def result(cell: str, layers: int, delay: int, task: str) -> tuple[str, str]:
    """What is golden."""
    net, chance, total = network(cell, layers, delay, task), numbers(), 0.0
    for k in range(FRAMES):
        stream = str(next(chance) % STREAMS)
        if task == "tokens":
            net.step(k % SIZE if next(chance) % 4 else next(chance) % SIZE, stream)
        else:  # a sawtooth and some noise, exact in float32
            x = [(5 * k + j * j) % 32 / 16 - 1 + (next(chance) >> 12) / 2**22 for j in range(SIZE)]
            net.learn(x, x[::-1], stream) if task == "linear" else net.step(x, stream)
        loss = net.loss(stream)
        total += loss if loss == loss else 0.0
    return net.parameters_sha256()[:16], total.hex()


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_bits_are_the_golden_ones(case):
    assert result(*case) == GOLDEN[case]


def test_a_checkpoint_of_an_earlier_version_goes_on():
    """Written by 0.1.0, which then went on for 200 frames: two streams, open windows, half a group.

    Its statistics were float32, so this version comes to the same loss, in the units of that one, but not to the bit.
    """
    net = sr.load(Path(__file__).parent / "data" / "checkpoint-of-0.1")
    total = 0.0
    for k in range(103, 303):
        stream = "ab"[k % 3 == 0]
        net.step([np.float32(((k * 7 + j * 3) % 11) / 4 + j) for j in range(3)], stream)
        total += net._costs(stream)[RELATIVE]
    assert total == pytest.approx(float.fromhex("0x1.a8d9572f0026bp+9"), rel=1e-6)
    assert net.parameters_sha256() == "ac1b054d28913d2acf1272017903d4b1452d900db5445b882d961c825220d498"


if __name__ == "__main__":
    for case in CASES:
        print(f"    {case}: {result(*case)},".replace("'", '"'), flush=True)


FORECASTS = {
    "plain": ({}, "f725a8b465e8b94b", "c7d3fdfb003e01ba"),
    "all": (
        {"lags": 5, "seasons": [7, 12], "horizons": [1, 3], "others": True, "band": 0.8},
        "283016f0e4532f2b",
        "b340e9d03cb52114",
    ),
    "anomaly": ({"anomaly": {"day": 48, "threshold": 2.0, "normal": 200}}, "f725a8b465e8b94b", "a508f17d8e45ae65"),
}


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts_have_the_golden_bits(name):
    """Of parameters, and of all outputs."""
    options, parameters, outputs = FORECASTS[name]
    net = sr.Network(
        [sr.GRU(2, 9), sr.LSTM(9, 5)],
        sr.Forecast(2, **options),
        sr.Adam(0.01),
        window=2,
        gradient_delay=1,
        predict="next",
        standardize=True,
    )
    chance = numbers()
    x = [[(5 * k + j * j) % 32 / 16 - 1 + (next(chance) >> 12) / 2**22 for j in range(2)] for k in range(1500)]
    Y, _ = net.run(x)
    assert (net.parameters_sha256()[:16], sha256(Y.tobytes()).hexdigest()[:16]) == (parameters, outputs)


MISSING = {
    "linear": ("16d43dee3c6e52de", "4bae976a6e824f92"),
    "gaussian": ("3d062c11c62a2015", "b5ddd79330652d51"),
    "forecast": ("9d852d8249a82d5f", "2d9abd6893f1ade3"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_readings_have_the_golden_bits(name):
    """A third of the readings is missing, in inputs and targets; the first layer sees which."""
    readout = {
        "linear": lambda: sr.Linear(3),
        "gaussian": lambda: sr.Gaussian(3),
        "forecast": lambda: sr.Forecast(3, lags=5, others=True, anomaly={"day": 48, "threshold": 2.0, "normal": 200}),
    }[name]()
    net = sr.Network(
        [sr.GRU(6, 9), sr.LSTM(9, 5)],
        readout,
        sr.Adam(0.01),
        window=2,
        gradient_delay=1,
        predict="next",
        standardize=True,
        missing="fill",
        mask=True,
    )
    chance = numbers()
    x = [[(5 * k + j * j) % 32 / 16 - 1 + (next(chance) >> 12) / 2**22 for j in range(3)] for k in range(1500)]
    x = [[value if next(chance) % 3 else nan for value in row] for row in x]
    Y, _ = net.run(x)
    assert (net.parameters_sha256()[:16], sha256(Y.tobytes()).hexdigest()[:16]) == MISSING[name]
