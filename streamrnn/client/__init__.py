"""The client of a running daemon."""

from streamrnn.client.async_client import AsyncClient
from streamrnn.client.client import Client
from streamrnn.client.control import CONTROL
from streamrnn.client.errors import DaemonGone, FrameRefused
from streamrnn.client.output import Output
from streamrnn.client.subscription import Subscription

__all__ = ["CONTROL", "AsyncClient", "Client", "DaemonGone", "FrameRefused", "Output", "Subscription"]
