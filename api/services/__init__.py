"""What the controller does: each service is a few functions over `Services` and an actor."""
