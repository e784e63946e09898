"""Passwords that are shown to others, such as brokers; each is in a file of its own."""

from pathlib import Path

from streamrnn.storage import private


def secret(path: str) -> str:
    """What is in a file that nobody else can read, without the end of the line. Raises OSError."""
    try:
        return private.read(Path(path)).decode().strip()
    except UnicodeDecodeError:
        raise OSError(f"{path}: is not UTF-8") from None
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}" if error.strerror else str(error)) from None
