"""Export: whole answers of any length, streamed page by page."""
