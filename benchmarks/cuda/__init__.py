"""A GPU beside the CPU, to the bit, and beside PyTorch: `python -m benchmarks.cuda`.

engines    the same network on a core and on a device
cases      networks and frames whose bits must not depend on where they are computed
identity   both engines on these
pipeline   a daemon with one worker on the GPU and one on the CPU
peer       PyTorch on the same weights
speed      ours beside it and beside one core
costs      launches, bytes and time of a block
"""
