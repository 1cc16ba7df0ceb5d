"""One suite per port, kept by the fake and by the real thing."""
