"""Experts: cheap online models of one channel of one stream, whose predictions a readout mixes with the network's.

An expert says a mean, in scales of the channel and relative to the newest value. Those of values are persistence (the
newest value again), season (the value one period back), and recursive least squares on lags and hidden state. All that
they know is float64 and lies in the stream's own row of `Stage.experts`, so it is kept, moved and taken back with it.
"""
