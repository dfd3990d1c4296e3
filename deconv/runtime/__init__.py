"""Utilities that all packages use: atomic files, devices, dtypes, error messages."""
