"""The agent's own way out: proxy settings, PAC files and WPAD, as this or another machine has them."""
