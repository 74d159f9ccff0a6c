"""From text to a checked recipe."""
