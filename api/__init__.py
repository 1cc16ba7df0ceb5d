"""Controller: the API and portal that order isolation for a fleet."""
