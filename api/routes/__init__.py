"""HTTP routes: read the request, call a service, shape the answer."""
