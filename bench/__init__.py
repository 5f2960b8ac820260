"""The benchmark: every figure beside its reference, in one run, as a ratio of medians."""
