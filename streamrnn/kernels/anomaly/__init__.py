"""Anomalies: how unusual each frame of a stream is, by simple detectors whose evidence is added up, and when to say so.

A detector says an amount of each channel at each frame, the larger the more unusual. Its evidence is minus the decimal
logarithm of how often it has said as much before, on this channel of this stream. The sum over the detectors (Fisher
1932) is the score; all that is known is float64, and lies behind the experts in the stream's row of `Stage.experts`.
"""

DETECTORS = (
    *("range 1", "range 6", "range 12", "range 24"),  # outside what was usual at this time of day; see `envelope`
    *("surprise 5", "surprise 30"),  # the forecast's mean loss over so many frames
    *("week", "high", "low", "jump"),  # see `detectors`
)
FACTS = 7  # of a stream, before what is of each detector and channel
# RARITY: -log10 of the p-value; AGE: of the event, in frames; DEPARTURE: from the normal state, see `departure`
SCORE, RARITY, THRESHOLD, EVENT, AGE, DEPARTURE, DEPARTED = range(FACTS)
BEGINS, GOES_ON, ENDS = range(1, 4)  # an EVENT; 0: there is none
