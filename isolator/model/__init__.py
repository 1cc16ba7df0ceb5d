"""Frozen values and codes that everything else speaks in."""
