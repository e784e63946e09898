"""The table of optimisers. An optimiser is a file here, a line below, and its settings in `streamrnn.model.optimizers`.

    step(p, g, moments, hyper, scale, rate, t)    update number t: changes parameters p and moments, zeroes gradient g

The gradient is scale * g. Formulas and defaults are PyTorch's.
"""

# columns of a stage's `hyper`
RATE, FIRST, SECOND, EPSILON, CLIP, DECAY_STEPS = range(6)

MOMENTS = {  # floats for each parameter
    "SGD": 1,
    "RMSprop": 1,
    "Adagrad": 1,
    "Adam": 2,
}
