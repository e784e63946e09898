"""Tables in files and pipes: how they are written, where each row is, and what it says."""
