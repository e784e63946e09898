"""Stages on a GPU, with the bits of the CPU. Imported only where a device is asked for.

What happens per unit, per element or per stream is the same source that the CPU compiles (`streamrnn.kernels`). Here is
what a GPU does in another way: who computes which sum. The order of every sum is that of `streamrnn.kernels.tiles`.

    compiler    numba.cuda, imported in one place, and its options
    products    matrix products
    units       a cell's units, forward and back
    stages      what else a stage does: inputs, outputs, losses, updates
    memory      where its numbers lie on the device
    room        how much of its memory they take
    device      which devices there are
    chain       consecutive stages at work on segments of frames, as `streamrnn.kernels.chain` has them at work
"""
