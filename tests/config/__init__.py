"""Tests of the files that describe a program."""
