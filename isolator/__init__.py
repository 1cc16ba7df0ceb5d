"""Host isolation: policy, packet filter, name gate and the agent that applies them."""
