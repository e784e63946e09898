"""streamrnn: recurrent networks that predict and learn on every frame of a live stream."""

from streamrnn.checkpoint import CheckpointError
from streamrnn.client import Client, DaemonGone, FrameRefused, Output
from streamrnn.keys import KeysError
from streamrnn.layers import GRU, LSTM, RNN
from streamrnn.network import Network, load
from streamrnn.optimizers import SGD, Adagrad, Adam, RMSprop
from streamrnn.readouts import Gaussian, Linear, Softmax
from streamrnn.vocabulary import Vocabulary

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adagrad",
    "Adam",
    "CheckpointError",
    "Client",
    "DaemonGone",
    "FrameRefused",
    "Gaussian",
    "KeysError",
    "Linear",
    "Network",
    "Output",
    "RMSprop",
    "Softmax",
    "Vocabulary",
    "load",
]
