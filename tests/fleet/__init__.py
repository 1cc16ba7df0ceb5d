"""Agents that are only messages: real keys and signatures, no kernel; to load and to break a controller."""
