"""Columns of the tables of `streamrnn.kernels` that those read too who need nothing compiled."""

NO_TIME = -(2**63)  # in the place of a frame's time that is not known

READOUT = 16  # kinds below are cells, those from here on readouts: their places in the tables, see `kernels.cells`
KIND = 0  # column of Stage.config
# columns of Schedule.config
WINDOW, ACCUMULATE, DELAY = range(3)
# columns of Schedule.streams
FRAMES, TARGETS, SLOT = range(3)
# columns of Schedule.queue, behind FRAMES, TARGETS, SLOT
VERSION = 3
# columns of Schedule.counters
CLOSED, LEARNED, APPLIED, FREE, DUE, CUT = range(6)
# of a stream's row in Stage.experts
COUNT, PRESENTED, STARTED = range(3)
