"""One step of training; knows no disk."""
