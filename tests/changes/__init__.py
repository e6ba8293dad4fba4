"""Tests of who is told of changes."""
