"""The header of a message and the kinds of messages, see `streamrnn.protocol.wire`."""

MAGIC = int.from_bytes(b"srnn\x03\x00\x00\x00", "little")
HEADER = 9
# positions in the header
H_MAGIC, H_KIND, H_EPOCH, H_NUMBER, H_FRAMES, H_VECTORS, H_WIDTH, H_BYTES, H_EXTRA = range(HEADER)
FLOAT, DOUBLE = 4, 8  # H_BYTES: of a number in the vectors
# kinds
FRAMES = 1  # frames on their way down, `number`: see streamrnn.workers.kernels.loop; or from a client
GRADIENT = 2  # of the inputs of window `number`, on its way up
OUTPUT = 3  # what the readout said
BARRIER = 4  # checkpoint `number`; frames[0]: the frames accepted before it and the streams in use
NAME = 5  # the name of stream `number`, a text
CREDIT = 6  # `number` frames have gone through, all told
ACCEPTED = 7  # a client's request `number`; frames[0]: the SEQ of its first frame
REFUSED = 8  # a client's request `number`, and why, a text
CLOSE = 9  # a client is done with a stream
RESULT = 10  # outputs of frames with ECHO of a client's request `number`; TOKEN, extra: the class, the values drawn
ALIVE = 11  # to a client: to see whether it is there; to a subscriber: `number`: the place of the last row before it
RESEND = 12  # to a client: greet this gate, whose epoch it is, and send again what has not been answered
RATE = 14  # the learning rate of every update from here on; `number`: the bits of a float64
EVICT = 15  # the state of stream `number` is taken out, and goes to the gate; frames[0]: the number of the eviction
RESTORE = 16  # the state comes back, as stream `number`; frames[0]: the number of that; extra: what was taken out
HURRY = 17  # of a client: it waits for the answer to its request `number`; others are answered within a second or so
ALARM = 18  # an event of a stream begins or is over, at the place `number`; a text of JSON
GREETING = 13  # of a client: frames[:, SEQ]: its requests that have not been answered, `number`: its next; 0: it goes
