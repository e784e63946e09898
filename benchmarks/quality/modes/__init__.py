"""The five ways of processing a sequence, each on a real task, learned live by a daemon. One file a task."""
