"""Words as tokens, for texts whose meaning lies in words rather than in bytes."""

from collections.abc import Iterable
from unicodedata import normalize

import regex

END, UNKNOWN = 0, 1  # the token after a text; any word that has no number
SPECIAL = 2
BOUNDARY = regex.compile(r"(?w)\b")  # of words, as Unicode has it (UAX 29)
BETWEEN = regex.compile(r"[\s\p{Cf}]*")  # what may stand between words: spaces, and marks of format alone


class Vocabulary:
    """Learned from the stream: a word gets the next token the first time it comes, until `size` tokens are given.

    size    of the network's input that they are for; tokens 0 and 1 stand for the end of a text and unknown words
    words   known already, in the order of their tokens: `Vocabulary(size, kept.words)` is as good as `kept`

    Words are what lies between the word boundaries of Unicode (UAX 29), single signs too: "don't" and "3.14" are one,
    scripts without spaces give one a character. Capitals do not count, nor in which way an accent is encoded.
    Raises ValueError if the words do not fit.
    """

    def __init__(self, size: int, words: Iterable[str] = ()) -> None:
        self.size = size
        self.words = list(words)
        self._tokens = {folded(word): token for token, word in enumerate(self.words, SPECIAL)}
        if not len(self._tokens) == len(self.words) <= size - SPECIAL:
            raise ValueError(f"{len(self.words)} different words and {SPECIAL} signs do not fit into {size} tokens")

    def tokens(self, text: str, learn: bool = True) -> list[int]:
        """The words of a text and END; new ones get a token if learn is True and there is one left."""
        found = []
        for word in words_of(text):
            if learn and word not in self._tokens and len(self.words) < self.size - SPECIAL:
                self._tokens[word] = len(self.words) + SPECIAL
                self.words.append(word)
            found.append(self._tokens.get(word, UNKNOWN))
        return [*found, END]

    def text(self, tokens: Iterable[int]) -> str:
        """The words of tokens with a space between, "?" for unknown ones, up to END."""
        found = []
        for token in tokens:
            if token == END:
                break
            found.append(self.words[token - SPECIAL] if SPECIAL <= token < SPECIAL + len(self.words) else "?")
        return " ".join(found)


def words_of(text: str) -> list[str]:
    """The words of a text, folded."""
    return [part for part in BOUNDARY.split(folded(text)) if not BETWEEN.fullmatch(part)]


def folded(text: str) -> str:
    """The same for texts that differ only in case, or in how their characters are encoded; in form NFC."""
    return normalize("NFC", normalize("NFD", text).casefold())
