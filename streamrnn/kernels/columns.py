"""Columns of the schedule's tables (`streamrnn.kernels.schedule`), for those too who need none of its kernels."""

# columns of Schedule.config
WINDOW, ACCUMULATE, DELAY = range(3)
# columns of Schedule.streams
FRAMES, TARGETS, SLOT = range(3)
# columns of Schedule.queue, behind FRAMES, TARGETS, SLOT
VERSION = 3
# columns of Schedule.counters
CLOSED, LEARNED, APPLIED, FREE, DUE, CUT = range(6)
