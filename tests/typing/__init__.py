"""Examples for type checkers, and the tests that run these on them."""
