"""Modules that tests run in processes of their own, on a backend that they name."""
