"""For all tests: machines are noisy, so no example is timed."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

from hypothesis import settings

settings.register_profile("streamrnn", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("streamrnn")
