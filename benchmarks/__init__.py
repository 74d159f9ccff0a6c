"""How fast srkit is beside other ways to do the same, each measured in one run: `python -m benchmarks`."""
