"""What streams may be called, and which names are the daemon's own."""

LONGEST_NAME = 255  # bytes
SOURCE = "source"  # the stream of the daemon's only or first source
PREVIEW = "preview"  # the stream of the live view's samples; its frames are not counted
ALARMS = "alarms"  # under which alarms are published, beside the outputs that they are in
OWN = "~"  # the names of clients' own streams begin with it


def problem(name: str) -> str | None:
    """Why no stream can have that name, None where one can."""
    if not 0 < len(name.encode()) <= LONGEST_NAME or "\0" in name:
        return f"a stream's name has 1 to {LONGEST_NAME} bytes and no zero byte"
    if name == ALARMS:
        return f'alarms are published under "{ALARMS}": give the stream another name'
    return f"streams whose names begin with {OWN} are the daemon's" if name.startswith(OWN) else None
