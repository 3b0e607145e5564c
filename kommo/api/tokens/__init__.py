"""Access tokens: what they say of themselves, and their renewal by one process of the fleet."""
