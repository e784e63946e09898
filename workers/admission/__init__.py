"""What the gate is made of: frames are checked, numbered, written down and let in, each once."""
