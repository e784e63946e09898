"""The errors of a client's calls."""


class DaemonGone(ConnectionError):
    """No answer from the daemon within the timeout."""


class FrameRefused(ValueError):
    """The daemon did not let a frame in; says why. Nothing has changed there.

    before: the number of frames that this client had sent before it.
    """

    before = 0
