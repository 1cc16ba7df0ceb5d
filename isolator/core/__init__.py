"""Pure decisions on values: no sockets, no clock, no files."""
