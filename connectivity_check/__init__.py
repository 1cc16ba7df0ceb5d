"""Preflight: proves that the way to the listed endpoints is open. Not in this version."""
