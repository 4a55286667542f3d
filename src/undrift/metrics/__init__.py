"""Metrics, one file each: read `metric` first, then `reference`, which holds the real data that samples are compared with."""
