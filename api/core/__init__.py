"""What the controller decides, as values: roles, states, order and audit bytes, OData expressions."""
