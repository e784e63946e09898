"""Sequence output: spell the digit of an image in English, letter by letter, until the stop symbol."""

from pathlib import Path

import numpy as np

import streamrnn as sr
from benchmarks.quality.modes.digits import Digits
from benchmarks.quality.modes.task import Figure

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STOP = 0


def spelled(digit: int) -> list[int]:
    """The letters of its name, 1 to 26, and the stop symbol."""
    return [ord(letter) - ord("a") + 1 for letter in NAMES[digit]] + [STOP]


class Captions(Digits):
    """The images of `Digits`; what others make of the digit, spelled out, is as right as the digit."""

    mode, config, passes = "sequence output", "captions.toml", 30

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pairs = [([image], spelled(digit)) for image, digit in zip(*self.learned, strict=True)]

    def examine(self, client: sr.Client) -> list[Figure]:
        captions = [client.generate(image, until=STOP, max_length=20, temperature=0) for image in self.held[0]]
        right = [[*caption, STOP] == spelled(digit) for caption, digit in zip(captions, self.held[1], strict=True)]
        return [Figure("captions right", float(np.mean(right)), 0.95)]
