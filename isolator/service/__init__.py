"""The agent's moving parts; they speak to ports only."""
