"""Whole images through a network, scored."""
