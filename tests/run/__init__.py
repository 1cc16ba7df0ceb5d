"""`make run`: a controller with its portal on loopback, and a lab device to isolate from the browser."""
