"""Figures of a cluster: how they are measured. The rows are in ``benchmarks/rows/cluster.py``."""
