"""The floor that computes: the only one that imports torch."""
