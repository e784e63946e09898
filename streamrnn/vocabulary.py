"""Words as tokens, for texts whose meaning lies in words rather than in bytes."""

import re
from collections.abc import Iterable

END, UNKNOWN = 0, 1  # the token after a text; any word that has no number
SPECIAL = 2
WORD = re.compile(r"\w+|[^\w\s]")


class Vocabulary:
    """Learned from the stream: a word gets the next token the first time it comes, until `size` tokens are given.

    size    of the network's input that they are for; tokens 0 and 1 stand for the end of a text and unknown words
    words   known already, in the order of their tokens: `Vocabulary(size, kept.words)` is as good as `kept`

    Words are runs of letters and digits, or single signs; capitals do not count. Raises ValueError if they do not fit.
    """

    def __init__(self, size: int, words: Iterable[str] = ()) -> None:
        self.size = size
        self.words = list(words)
        self._tokens = {word: token for token, word in enumerate(self.words, SPECIAL)}
        if not len(self._tokens) == len(self.words) <= size - SPECIAL:
            raise ValueError(f"{len(self.words)} different words and {SPECIAL} signs do not fit into {size} tokens")

    def tokens(self, text: str, learn: bool = True) -> list[int]:
        """The words of a text and END; new ones get a token if learn is True and there is one left."""
        found = []
        for word in WORD.findall(text.lower()):
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
