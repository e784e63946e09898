"""How machine code lies on disk: files of Numba's cache, each behind its sha256.

A file that is empty, cut or otherwise damaged is none: what it held is compiled anew. Where machine code cannot be
written, it is in memory only, unless it must be kept for others.
"""

import logging
import pickle
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)

from streamrnn.kernels.cache import CACHE_FOLDER

DIGEST = sha256().digest_size


class Locator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """The place of a function's files."""

    def __init__(self, function: Callable, source: str) -> None:
        self._py_file, self._lineno = source, function.__code__.co_firstlineno
        self._cache_path = str(CACHE_FOLDER / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Callable, source: str) -> "Locator":
        return cls(function, source)

    def get_cache_path(self) -> str:
        return self._cache_path


class Place(CompileResultCacheImpl):
    _locator_classes = [Locator]  # noqa: RUF012


class CheckedFiles(IndexDataCacheFile):
    """The files of a function: which compilations there are, and each of them."""

    def _load_index(self) -> dict[Any, str]:
        stamp, overloads = read(Path(self._index_path)) or (None, {})
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, (self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return read(Path(self._data_path(name)))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _write(self, path: str, content: Any) -> None:
        data = self._dump(content)
        with self._open_for_write(path) as file:
            file.write(sha256(data).digest() + data)


class KernelCache(FunctionCache):
    """What Numba asks for the machine code of a function, and gives it to."""

    _impl_class = Place
    must_keep = False  # raise OSError where it cannot be written

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = CheckedFiles(
            self.cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            super().save_overload(signature, compiled)
        except OSError as error:
            if self.must_keep:
                raise
            tell_once(error.strerror)


@cache
def tell_once(reason: str) -> None:
    """Say in the log why each process has to compile for itself."""
    text = f"compiled kernels cannot be kept in {CACHE_FOLDER} ({reason}): every process compiles them anew"
    logging.getLogger("streamrnn").warning(text, extra={"event": "cache_fault"})


def read(path: Path) -> Any:
    """What a file holds; None if it is not there or not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    data = content[DIGEST:]
    return pickle.loads(data) if sha256(data).digest() == content[:DIGEST] else None
