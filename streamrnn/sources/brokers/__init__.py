"""Messages of brokers: what they say, and which of them have come before."""
