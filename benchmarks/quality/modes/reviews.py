"""Sequence input: is this film review positive."""

from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import streamrnn as sr
from benchmarks.quality.modes.task import Figure, Task, split

VOCABULARY = 8192


class Reviews(Task):
    mode, config, passes = "sequence input", "reviews.toml", 4
    file = "sentences-polarity.tsv"

    def __init__(self, folder: Path) -> None:
        lines = (folder / self.file).read_text(encoding="utf-8").splitlines()
        labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
        learned, held = ([(texts[k], int(labels[k])) for k in part] for part in split(len(lines), 10))
        self.words = sr.Vocabulary(VOCABULARY)
        self.pairs = [(self.words.tokens(text), [label]) for text, label in learned]
        self.learned, self.held = list(zip(*learned, strict=True)), list(zip(*held, strict=True))

    def examine(self, client: sr.Client) -> list[Figure]:
        answers = [client.classify(self.words.tokens(text, learn=False)).argmax() for text in self.held[0]]
        return [Figure("reviews right", float(np.mean(np.equal(answers, self.held[1]))), 0.72)]

    def others(self) -> list[str]:
        texts, labels = self.learned
        linear = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000)).fit(texts, labels)
        commonest = np.mean(np.equal(self.held[1], np.bincount(labels).argmax()))
        return [f"the commonest {commonest:.1%}", f"words, logistic regression {linear.score(*self.held):.1%}"]
