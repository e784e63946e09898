"""What processes and clients say to each other, where, and with which keys."""
