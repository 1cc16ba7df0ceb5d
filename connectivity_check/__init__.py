"""Preflight: proves that the way to the listed endpoints is open."""
