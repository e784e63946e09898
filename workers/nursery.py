"""What the process that workers are forked from has ready: every import, and the compiled kernels."""

from streamrnn.jit import link
from streamrnn.workers import gate, publisher, stages
from streamrnn.workers.member import end_with_parent

end_with_parent()
link()

__all__ = ["gate", "publisher", "stages"]
