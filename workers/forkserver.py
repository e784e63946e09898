"""What the process that workers are forked from has ready: every import, and the kernels."""

import gc

from streamrnn.workers import compilation, gate, publisher, sinks, stages
from streamrnn.workers.worker import end_with_parent

end_with_parent()
compilation.load()
gc.freeze()  # what is here stays: no collection in a worker touches these pages, which all share

__all__ = ["gate", "publisher", "sinks", "stages"]
