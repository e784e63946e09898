"""What lies on the disk: checkpoints, and files that are the user's alone."""
