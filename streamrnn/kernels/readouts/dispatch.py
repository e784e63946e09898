"""The functions of all readouts, chosen by kind: READOUT and a readout's place in the table."""

from numba import boolean, float32, float64, int64, none

from streamrnn.kernels.buffers import READOUT
from streamrnn.kernels.jit import linked_table
from streamrnn.kernels.readouts import READOUTS

HERE = "streamrnn.kernels.readouts"
vector, exact = float32[::1], float64[::1]

activate = linked_table(HERE, READOUTS, "activate", READOUT, none, vector)
predict = linked_table(HERE, READOUTS, "predict", READOUT, none, exact, exact, exact, vector, int64, exact, exact)
learn = linked_table(
    HERE, READOUTS, "learn", READOUT, none, exact, exact, exact, exact, exact, exact, boolean, exact, vector, exact
)
dismiss = linked_table(HERE, READOUTS, "dismiss", READOUT, none, exact, exact, exact, int64)
score = linked_table(
    HERE, READOUTS, "score", READOUT, none, vector, int64, vector, exact, exact, float32, vector, exact
)
