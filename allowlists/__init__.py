"""Endpoint lists: which destinations a device needs, where each row comes from, and how names match."""
