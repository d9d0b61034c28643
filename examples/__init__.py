"""Tutorials, one file each, and the package of experiments."""
