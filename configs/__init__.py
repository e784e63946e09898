"""The configs that come with streamrnn, the unit for systemd, and what to know of a daemon that is kept running."""
