"""A run's files, and what happens in it."""
