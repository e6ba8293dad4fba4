"""Tests of supervision: the decisions, and what they come to in a runtime."""
