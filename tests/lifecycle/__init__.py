"""Tests of the machine that drives one component through its stages."""
