"""Requests and answers in the shape that existing clients know."""
