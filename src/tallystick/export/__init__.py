"""Export: whole answers of any length, streamed piece by piece."""
