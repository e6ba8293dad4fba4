"""Tests of the runtime: its start and end, signals, exit codes, reports."""
