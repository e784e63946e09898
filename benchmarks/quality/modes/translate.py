"""Sequence to sequence: short English sentences to French, words in, pieces of words out."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
from sacrebleu.metrics import CHRF
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from sklearn.feature_extraction.text import TfidfVectorizer

import streamrnn as sr
from benchmarks.quality.modes.task import Figure, Task, split

LONGEST = 20  # characters of an English sentence
WORDS, PIECES = 3072, 640  # of configs/translate.toml
STOP = 0
PLAIN = str.maketrans({"\u202f": " ", "\u2009": " ", "\u00a0": " ", "’": "'"})  # the file has both kinds of each


def sub_words(sentences: list[str]) -> SentencePieceProcessor:
    """Byte pair encoding learned from these sentences (Sennrich et al. 2016)."""
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        character_coverage=1.0,
        normalization_rule_name="identity",
        eos_id=STOP,
        unk_id=1,
        bos_id=-1,
        minloglevel=2,
    )
    return SentencePieceProcessor(model_proto=model.getvalue())


class Translate(Task):
    mode, config, passes = "sequence to sequence", "translate.toml", 9
    file = "eng-fra.tsv"

    def __init__(self, folder: Path) -> None:
        known: dict[str, list[str]] = {}
        for line in (folder / self.file).read_text(encoding="utf-8").splitlines():
            english, french = line.translate(PLAIN).split("\t")[:2]
            if len(english) <= LONGEST and french not in known.setdefault(english, []):
                known[english].append(french)
        sentences = list(known)
        learned, held = split(len(sentences), 10)
        self.learned = [(english, french) for k in learned for english in [sentences[k]] for french in known[english]]
        self.held = [(sentences[k], known[sentences[k]]) for k in held]
        self.words, self.pieces = sr.Vocabulary(WORDS), sub_words([french for _, french in self.learned])
        self.pairs = [
            (self.words.tokens(english), [*self.pieces.encode(french), STOP]) for english, french in self.learned
        ]

    def examine(self, client: sr.Client) -> list[Figure]:
        answers = [self.translate(client, english) for english, _ in self.held]
        exact, chrf = self.judge(answers)
        return [Figure("sentences exact", exact, 0.15), Figure("chrF", chrf, 35)]

    def translate(self, client: sr.Client, english: str) -> str:
        """The likeliest piece each time."""
        pieces = client.transduce(self.words.tokens(english, learn=False), until=STOP, max_length=60)
        return self.pieces.decode(pieces)

    def judge(self, answers: list[str]) -> tuple[float, float]:
        """The share that is one of the known translations, and the mean chrF."""
        chrf = CHRF()
        references = [french for _, french in self.held]
        exact = [answer in known for answer, known in zip(answers, references, strict=True)]
        scores = [chrf.sentence_score(answer, known).score for answer, known in zip(answers, references, strict=True)]
        return float(np.mean(exact)), float(np.mean(scores))

    def others(self) -> list[str]:
        """The commonest French sentence, and that of the nearest English one (n-grams of letters, tf-idf, cosine)."""
        commonest = Counter(french for _, french in self.learned).most_common(1)[0][0]
        english, french = zip(*self.learned, strict=True)
        vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))
        nearness = vectors.fit_transform(english) @ vectors.transform([english for english, _ in self.held]).T
        nearest = [french[k] for k in np.asarray(nearness.argmax(axis=0)).ravel()]
        found = []
        for name, answers in (("the commonest", [commonest] * len(self.held)), ("nearest neighbour", nearest)):
            exact, chrf = self.judge(answers)
            found.append(f"{name} {exact:.1%}, chrF {chrf:.1f}")
        return found
