"""Nothing to set up: `benchsuite` is a pytest plugin; the suites' own fixtures are in tests/conftest.py."""
