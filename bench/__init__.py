"""Benchmarks: figures as ratios and differences within one run, in network namespaces of their own."""
