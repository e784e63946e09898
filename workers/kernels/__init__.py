"""What workers have compiled."""
