"""Runs of one recipe that differ in some settings."""
