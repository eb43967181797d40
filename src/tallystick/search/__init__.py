"""Search: the index, the few events behind it, and the endpoints that list and find."""
