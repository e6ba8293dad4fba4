"""Thousands of repeats, off by default."""
