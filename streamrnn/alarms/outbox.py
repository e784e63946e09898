"""What a receiver has still to be sent, and how far outputs were looked through for that: on the disk.

Both are one file, which is replaced as a whole. So after a death no alarm is missing, and none is found again.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.storage import files, private

Message = dict[str, Any]  # see `streamrnn.alarms.watch`


class Outbox(msgspec.Struct):
    """Streams are those that it has something to say of, by name."""

    run: str = ""
    seq: int = -1  # of the last output that has changed what is below
    above: dict[str, int] = {}  # frames in a row whose loss was above the limit
    open: dict[str, dict[str, str]] = {}  # by kind, the ID of the alarm that has begun
    waiting: list[Message] = []  # in the order of their alarms
    sending: Message | None = None  # it may have arrived: as long as it is not answered it is sent as it is
    answered: dict[str, float] = {}  # when a stream's last message was, in seconds since 1970

    def begin(self, run: str) -> None:
        """Look through the outputs of a run: in another one than before nothing has begun."""
        if run != self.run:
            self.run, self.seq, self.above, self.open = run, -1, {}, {}

    def next(self, now: float, every: float) -> Message | None:
        """What is to be sent now; of a stream that had to wait for `every` seconds, all that has come in one."""
        if self.sending is None:
            self.answered = {name: at for name, at in self.answered.items() if 0 <= now - at < every}
            due = next((message for message in self.waiting if message["stream"] not in self.answered), None)
            if due is not None:
                *held, newest = [each for each in self.waiting if each["stream"] == due["stream"]] if every else [due]
                sent = {each["id"] for each in (*held, newest)}
                self.waiting = [each for each in self.waiting if each["id"] not in sent]
                self.sending = newest | {"held": held}
        return self.sending

    def confirm(self, now: float) -> None:
        """It was answered."""
        assert self.sending
        self.answered[self.sending["stream"]] = now
        self.sending = None

    def __len__(self) -> int:
        """Alarms that wait."""
        return len(self.waiting) + (1 + len(self.sending["held"]) if self.sending else 0)


def read(path: Path) -> Outbox:
    """The one in that file; an empty one where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outbox)
    except (FileNotFoundError, *files.NOT_JSON):
        return Outbox()


def write(path: Path, outbox: Outbox) -> None:
    """Have it on the disk."""
    private.make_folder(path.parent)
    writing = path.with_suffix(files.WRITING)
    files.write_file(writing, msgspec.json.encode(outbox))
    os.replace(writing, path)
    files.flush_folder(path.parent)
