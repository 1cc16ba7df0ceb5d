"""Pure decisions of the preflight: what to try, which controls, what it means."""
