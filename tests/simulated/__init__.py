"""The promises of a whole runtime, in orders that seeds choose."""
