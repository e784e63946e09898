"""The bytes of a file in their order: as they are, out of gzip, or out of UTF-16."""

import codecs
import os
import stat
import zlib

from streamrnn.sources.source import SourceError

CHUNK = 1 << 17  # most bytes read at once
TAIL = 256  # bytes before a place by which it is known again
PADDING = b"\0"  # behind gzip's data, to fill up a block
GZIP, UTF_16 = b"\x1f\x8b", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class File:
    """A regular file, read from its beginning or from any byte on.

    What counts are the bytes that gzip has packed, and UTF-16 as UTF-8. Raises SourceError, and FileNotFoundError where
    there is none.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._bytes = _Bytes(path)
        self._ahead = b""  # unpacked and not read
        self._begin()

    @property
    def name(self) -> str:
        """In its folder."""
        return os.path.basename(self.path)

    @property
    def inode(self) -> int:
        return self._bytes.status().st_ino

    @property
    def size(self) -> int:
        """Its bytes as they lie on the disk, now."""
        return self._bytes.status().st_size

    @property
    def changed(self) -> int:
        """When it was last written to, in nanoseconds since 1970."""
        return self._bytes.status().st_mtime_ns

    def read(self) -> bytes:
        """The bytes at `offset`, which moves behind them; none where no more are there now."""
        piece = self._ahead or self._unpacked()
        self._ahead = b""
        self._moved(piece)
        return piece

    def go_to(self, offset: int) -> bool:
        """Go on at that byte; whether the file is that long."""
        self._begin()
        if isinstance(self._layer, _Bytes):
            self.offset = self._bytes.at = max(0, offset - TAIL)
        while self.offset < offset and (piece := self._unpacked()):
            wanted = offset - self.offset
            self._ahead = piece[wanted:]
            self._moved(piece[:wanted])
        return self.offset == offset

    def is_another_now(self) -> bool:
        """Whether it was cut short, or what was read of it was written over."""
        at, plain = self._bytes.at, isinstance(self._layer, _Bytes) and not self._ahead
        if self.size < at:
            return True
        return plain and self._bytes.piece(at - len(self.tail), len(self.tail)) != self.tail

    def check_end(self) -> None:
        """Raises SourceError where what is packed ends before its end."""
        if isinstance(self._layer, _Unzipped) and not self._layer.ended:
            raise SourceError(f"{self.path}: is cut short: its compressed data has no end; get it anew")

    def close(self) -> None:
        self._bytes.close()

    def _begin(self) -> None:
        self.offset = 0  # of the next byte that is read
        self.tail = b""  # what is before it, at most TAIL bytes
        self._bytes.at = 0
        self._ahead = b""
        self._layer: _Layer | None = _layer(self._bytes)

    def _unpacked(self) -> bytes:
        if self._layer is None:
            self._layer = _layer(self._bytes)
        return self._layer.read() if self._layer else b""

    def _moved(self, piece: bytes) -> None:
        self.offset += len(piece)
        self.tail = (self.tail + piece)[-TAIL:]


class _Bytes:
    """As they are."""

    def __init__(self, path: str) -> None:
        self.path, self.at = path, 0
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise SourceError(f"{path}: {reason(error)}; give a file that can be read") from None
        if not stat.S_ISREG(self.status().st_mode):
            self.close()
            raise SourceError(f"{path}: is no file; give a file, or a folder of files")

    def status(self) -> os.stat_result:
        return os.fstat(self._descriptor)

    def piece(self, start: int, length: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, start)
        except OSError as error:
            raise SourceError(f"{self.path}: {reason(error)} at byte {start}") from None

    def read(self) -> bytes:
        piece = self.piece(self.at, CHUNK)
        self.at += len(piece)
        return piece

    def close(self) -> None:
        os.close(self._descriptor)


class _Unzipped:
    """Out of gzip, of one part or several."""

    def __init__(self, packed: _Bytes) -> None:
        self._packed, self._rest = packed, b""
        self._unzip = zlib.decompressobj(wbits=31)

    @property
    def ended(self) -> bool:
        return self._unzip.eof

    def read(self) -> bytes:
        while True:
            if self._unzip.eof and (self._rest or self._more()):
                self._unzip = zlib.decompressobj(wbits=31)
            try:
                piece = self._unzip.decompress(self._rest, CHUNK)
            except zlib.error as error:
                raise SourceError(f"{self._packed.path}: its compressed data is damaged: {error}") from None
            self._rest = self._unzip.unconsumed_tail
            if self._unzip.eof:
                self._rest = self._unzip.unused_data.lstrip(PADDING)
            if piece or not (self._rest or self._more()):
                return piece

    def _more(self) -> bool:
        self._rest = self._packed.read()
        if self._unzip.eof:
            self._rest = self._rest.lstrip(PADDING)
        return bool(self._rest)


class _Translated:
    """Out of UTF-16, whose order of bytes its first two say."""

    def __init__(self, packed: _Bytes) -> None:
        self._packed, self._decoder = packed, codecs.getincrementaldecoder("utf-16")("replace")

    def read(self) -> bytes:
        while piece := self._packed.read():
            if text := self._decoder.decode(piece):
                return text.encode("utf-8", "replace")
        return b""


_Layer = _Bytes | _Unzipped | _Translated


def _layer(packed: _Bytes) -> _Layer | None:
    """By the first two bytes; None as long as they are not there."""
    start = packed.piece(0, 2)
    if start == GZIP:
        return _Unzipped(packed)
    if start in UTF_16:
        return _Translated(packed)
    return packed if len(start) == 2 or start not in (b"", b"\x1f", b"\xff", b"\xfe") else None


def reason(error: Exception) -> str:
    """Why the system does not do it."""
    return getattr(error, "strerror", None) or str(error)
