"""Speed, as ratios within one run on one machine; each module is a command and writes a CSV to ``experiments/results/benchmarks``."""
