"""Runs side by side: their scores, their curves, and pages to look at."""
