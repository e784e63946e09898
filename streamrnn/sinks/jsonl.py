"""JSON lines: an object for each output, see `streamrnn.sinks.records`."""

from typing import TYPE_CHECKING, BinaryIO

import msgspec

from streamrnn.sinks.line_files import FileSink, FileTable, tail
from streamrnn.sinks.sink import About

if TYPE_CHECKING:
    from streamrnn.sinks.records import Record


class Place(msgspec.Struct):
    """Which output a record is of."""

    run: str
    seq: int


class JsonlSink(FileSink):
    begins = b'{"run":"'

    def encode(self, record: "Record") -> bytes:
        return msgspec.json.encode(record) + b"\n"

    def last_record(self, file: BinaryIO) -> tuple[int, int]:
        before, end = [0, 0, *tail(file, 2, b"\n")][-2:]
        return before, end

    def decode(self, record: bytes) -> tuple[str, int]:
        place = msgspec.json.decode(record, type=Place)
        return place.run, place.seq


class JsonlConfig(FileTable, frozen=True, kw_only=True, tag="jsonl"):
    def open(self, about: About) -> JsonlSink:
        return JsonlSink(self)
