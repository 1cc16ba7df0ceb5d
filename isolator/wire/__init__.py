"""Bytes to values and back; raises nothing but ParseError."""
