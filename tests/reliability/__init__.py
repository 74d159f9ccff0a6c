"""Faults, kills, power cuts and hostile files, drawn and counted: what docs/reliability.md promises."""
