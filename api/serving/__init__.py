"""The web server: what listens, who is let near it, how it ends."""

from api.serving.start import serve

__all__ = ["serve"]
