"""A network, made: padded, checked, counted."""
