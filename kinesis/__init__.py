"""A runtime for event-driven services made of components that run on threads."""
