"""What definitions would decide for the customers of a snapshot. Begin with `simulate` and `planning`."""
