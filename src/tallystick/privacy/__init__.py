"""What keeps values secret from those who may read the rest: data keys, sealing, encrypted objects."""
