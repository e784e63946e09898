"""The upper tail of a detector's past amounts: their 98 % quantile, and how far those beyond it lie from it.

Beyond the quantile the tail is taken to be exponential (Pickands 1975, Balkema and de Haan 1974, with shape 0). Of
the first KEPT / SHARE amounts the KEPT largest are kept, so both are exact; from there on they follow by stochastic
approximation (Robbins and Monro 1951; the step is Newton's, 1 / (n density)).
"""

from streamrnn.kernels.jit import inlined, kernel

SHARE = 0.02  # of the amounts, beyond the quantile
FEWEST = 100  # amounts before any is evidence
KEPT = 256  # the largest ones, of the first KEPT / SHARE
LONGEST = 1e6  # amounts: what is older is forgotten
AT_MOST = 6.0  # of evidence
LN_10 = 2.302585092994046
AT_QUANTILE = 1.6989700043360187  # -log10 SHARE
SEEN, QUANTILE, EXCESS, LARGEST = range(4)  # of a tail's numbers; those kept lie from LARGEST on, ascending
TAIL = LARGEST + KEPT  # numbers


@kernel
def evidence(tail, amount):
    """-log10 of the share of past amounts that are as large, beyond the quantile; 0 below, and where there are few."""
    if tail[SEEN] < FEWEST or amount <= tail[QUANTILE]:
        return 0.0
    over = amount - tail[QUANTILE]
    if over >= (AT_MOST - AT_QUANTILE) * LN_10 * tail[EXCESS]:
        return AT_MOST
    return AT_QUANTILE + over / (LN_10 * tail[EXCESS])


@kernel
def insert(tail, amount):
    """Take an amount into the tail."""
    before = beyond(tail[SEEN])
    tail[SEEN] = max(tail[SEEN], 0.0) + 1.0
    if tail[SEEN] * SHARE > KEPT:
        approximate(tail, amount)
    elif keep(tail[LARGEST:], int(tail[SEEN]), amount) < before or beyond(tail[SEEN]) > before:
        measure(tail)


@inlined
def beyond(seen):
    """How many of so many amounts lie at the quantile or beyond."""
    return int(seen) - int((1.0 - SHARE) * seen)


@inlined
def keep(largest, seen, amount):
    """Put an amount, the one of that number from 1 on, among the KEPT largest, ascending; returns how many follow."""
    place = max(KEPT - seen, 0)
    if seen > KEPT and amount <= largest[place]:
        return KEPT
    while place + 1 < KEPT and largest[place + 1] < amount:
        largest[place] = largest[place + 1]
        place += 1
    largest[place] = amount
    return KEPT - 1 - place


@inlined
def measure(tail):
    """Quantile and mean excess of the amounts that are kept."""
    count = beyond(tail[SEEN])
    largest, total = tail[LARGEST + KEPT - count : LARGEST + KEPT], 0.0
    for j in range(count):
        total += largest[j] - largest[0]
    tail[QUANTILE], tail[EXCESS] = largest[0], total / count


@inlined
def approximate(tail, amount):
    """One step of quantile and mean excess towards theirs."""
    count = SHARE * min(tail[SEEN], LONGEST)
    over = amount - tail[QUANTILE]
    if over > 0.0:
        tail[QUANTILE] += tail[EXCESS] / count * (1.0 - SHARE)
        tail[EXCESS] += (over - tail[EXCESS]) / count
    else:
        tail[QUANTILE] -= tail[EXCESS] / count * SHARE
