"""Stand-ins for the outside that behave; each passes the contract suite of the real thing."""
