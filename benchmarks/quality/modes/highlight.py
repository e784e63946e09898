"""Synced: a live syntax highlighter. To what does each byte of Python source belong, as it arrives?"""

import io
import keyword
import sysconfig
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier

import streamrnn as sr
from benchmarks.quality.modes.task import Figure, Task, split

CLASSES = ["keyword", "name", "number", "operator", "string", "comment", "white space"]
KEYWORD, NAME, NUMBER, OPERATOR, STRING, COMMENT, SPACE = range(7)
KINDS = {tokenize.NAME: NAME, tokenize.NUMBER: NUMBER, tokenize.OP: OPERATOR}
KINDS |= {tokenize.STRING: STRING, tokenize.COMMENT: COMMENT}
APART = {"test", "tests", "idlelib", "lib2to3", "site-packages", "pydoc_data", "encodings", "__pycache__"}
LINEAR_BYTES, LINEAR_BACK = 1_000_000, 8  # what the linear model learns from, and how far it looks back


def tokens(source: bytes) -> Iterator[tuple[int | None, tokenize.TokenInfo, int, int]]:
    """What `tokenize` finds: class or None, token, first byte, byte behind it. Raises SyntaxError, TokenError."""
    lines = io.StringIO(source.decode(), newline="").readlines()
    starts = np.cumsum([0, *(len(line.encode()) for line in lines)])

    def where(row: int, column: int) -> int:
        return int(starts[row - 1]) + len(lines[row - 1][:column].encode()) if row <= len(lines) else len(source)

    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.ERRORTOKEN:
            raise SyntaxError(token.string)
        in_string = tokenize.tok_name[token.type].startswith("FSTRING")
        kind = STRING if in_string else KINDS.get(token.type)
        if kind == NAME and keyword.iskeyword(token.string):
            kind = KEYWORD
        yield kind, token, where(*token.start), where(*token.end)


def labelled(source: bytes) -> np.ndarray:
    """The class of every byte; what belongs to no token is white space."""
    labels = np.full(len(source), SPACE)
    for kind, _, start, end in tokens(source):
        if kind is not None:
            labels[start:end] = kind
    return labels


def standard_library() -> list[tuple[bytes, np.ndarray]]:
    """The files of this Python's standard library and their labels, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in sorted(root.rglob("*.py")):
        if not APART & set(path.relative_to(root).parts):
            source = path.read_bytes()
            try:
                found.append((source, labelled(source)))
            except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
                continue  # made to be wrong
    return [pair for pair in found if pair[0]]


class Highlight(Task):
    mode, config, passes = "synced", "highlight.toml", 1
    synced = True

    def __init__(self, folder: Path) -> None:
        files = standard_library()
        learned, held = split(len(files), 10)
        self.pairs, self.held = [files[k] for k in learned], [files[k] for k in held]

    def examine(self, client: sr.Client) -> list[Figure]:
        right = sum(int(np.sum(client.label(source).argmax(1) == labels)) for source, labels in self.held)
        return [Figure("bytes right", right / sum(len(labels) for _, labels in self.held), 0.94)]

    def others(self) -> list[str]:
        return [
            f"the byte's commonest {self._table(1):.1%}",
            f"3 bytes' commonest {self._table(3):.1%}",
            f"{LINEAR_BACK} bytes, logistic regression {self._linear():.1%}",
            f"ceiling {self._ceiling():.2%}",
        ]

    def _table(self, length: int) -> float:
        """The commonest class of the last `length` bytes, or of the last byte where those never came before."""
        counts: dict[int, np.ndarray] = {}
        for size in {1, length}:
            counts[size] = np.zeros((256**size, len(CLASSES)), np.int32)
            for source, labels in self.pairs:
                np.add.at(counts[size], (keys(source, size), labels), 1)
        right = total = 0
        for source, labels in self.held:
            found = counts[length][keys(source, length)]
            known = found.any(1)[:, None]
            right += int(np.sum(np.where(known, found, counts[1][keys(source, 1)]).argmax(1) == labels))
            total += len(labels)
        return right / total

    def _linear(self) -> float:
        """Logistic regression on the last bytes, each one-hot."""
        sources, labels = zip(*self.pairs, strict=True)
        enough = int(np.searchsorted(np.cumsum([len(source) for source in sources]), LINEAR_BYTES)) + 1
        model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=3, tol=None, random_state=0)
        model.fit(one_hot(sources[:enough]), np.concatenate(labels[:enough]))
        held, truth = zip(*self.held, strict=True)
        return model.score(one_hot(held), np.concatenate(truth))

    def _ceiling(self) -> float:
        """Right at best: who knows the true token before each byte and what of this one has come, not what follows.

        "i" may begin `if` or `index`, "f" a name or a string. For every such prefix of a name, a keyword, a string's
        letters or a number's dot, the best answer is its commonest class, given the token before, in the held-out files
        themselves; everything else is known.
        """
        counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
        for source, _ in self.held:
            for before, prefix, kind, size in prefixes(source):
                counts[before, prefix][kind] += size
        lost = sum(count.total() - max(count.values()) for count in counts.values())
        return 1 - lost / sum(len(labels) for _, labels in self.held)


def keys(source: bytes, length: int) -> np.ndarray:
    """The last `length` bytes as a number, for every byte; zeros stand before the first."""
    padded = np.concatenate([np.zeros(length - 1, np.int64), np.frombuffer(source, np.uint8)])
    return sum(padded[k : k + len(source)].astype(np.int64) << 8 * (length - 1 - k) for k in range(length))


def one_hot(sources: tuple[bytes, ...]) -> csr_matrix:
    """The last LINEAR_BACK bytes of every byte, one-hot."""
    columns = []
    for source in sources:
        padded = np.concatenate([np.zeros(LINEAR_BACK - 1, np.int64), np.frombuffer(source, np.uint8)])
        columns.append(np.stack([padded[k : k + len(source)] + 256 * k for k in range(LINEAR_BACK)], axis=1))
    every = np.concatenate(columns)
    ends = np.arange(0, every.size + 1, LINEAR_BACK)
    return csr_matrix((np.ones(every.size, np.float32), every.ravel(), ends), (len(every), 256 * LINEAR_BACK))


def prefixes(source: bytes) -> Iterator[tuple[str, str, int, int]]:
    """The token before, the prefix, its class and the bytes of its last sign, wherever the class is not sure yet."""
    before = "line"
    for kind, token, _, _ in tokens(source):
        if kind is None:
            before = "line" if token.type == tokenize.NEWLINE else before
            continue
        text = token.string
        if kind == STRING:
            text = text[: min((text + "'").index("'"), (text + '"').index('"'))]
        elif kind in (OPERATOR, NUMBER):
            text = "." if text[0] == "." else ""
        elif kind == COMMENT:
            continue
        for k, character in enumerate(text, 1):
            yield before, text[:k], kind, len(character.encode())
        before = token.string if kind in (KEYWORD, OPERATOR) else CLASSES[kind]
