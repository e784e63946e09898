"""Everything that is compiled, and the numbers that compiled code and the rest agree on; nothing else."""
