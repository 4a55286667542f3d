"""Tuning: which sampler, which grid, how many steps."""
