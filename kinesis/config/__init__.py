"""A program as a YAML file: read, checked, built."""
