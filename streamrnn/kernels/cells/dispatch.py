"""The functions of all cells, chosen by kind: a cell's place in the table."""

from numba import float32, none

from streamrnn.kernels.cells import CELLS
from streamrnn.kernels.jit import linked_table

HERE = "streamrnn.kernels.cells"
vector, matrix = float32[::1], float32[:, ::1]

step = linked_table(HERE, CELLS, "step", 0, none, vector, vector, vector, vector, vector)
gradient = linked_table(HERE, CELLS, "gradient", 0, none, vector, vector, vector, vector, vector, vector, vector)
own_gradient = linked_table(HERE, CELLS, "own_gradient", 0, none, matrix, matrix, matrix, vector)
