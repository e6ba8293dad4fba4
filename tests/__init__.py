"""The tests: a package, so that files that name a type can name one in here."""
