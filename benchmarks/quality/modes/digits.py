"""Fixed to fixed: which digit is this image of 8x8 numbers."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import streamrnn as sr
from benchmarks.quality.modes.task import Figure, Task, split


class Digits(Task):
    mode, config, passes = "fixed to fixed", "digits.toml", 40

    def __init__(self, folder: Path) -> None:
        images, digits = load_digits(return_X_y=True)
        images = (images / 16).astype(np.float32)
        learned, held = split(len(images), 5)
        self.learned, self.held = (images[learned], digits[learned]), (images[held], digits[held])
        self.pairs = [([image], [digit]) for image, digit in zip(*self.learned, strict=True)]

    def examine(self, client: sr.Client) -> list[Figure]:
        right = [client.classify([image]).argmax() == digit for image, digit in zip(*self.held, strict=True)]
        return [Figure("images right", float(np.mean(right)), 0.97)]

    def others(self) -> list[str]:
        commonest = np.mean(self.held[1] == np.bincount(self.learned[1]).argmax())
        linear = LogisticRegression(max_iter=2000).fit(*self.learned).score(*self.held)
        return [f"the commonest {commonest:.1%}", f"logistic regression {linear:.1%}"]
