"""With a real GPU and CuPy, where there are both; ``tests/devices`` needs neither. See ``benchmarks/GPU.md``."""
