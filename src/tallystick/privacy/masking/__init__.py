"""Masking at ingest: what looks like a secret is replaced before an event's body is formed."""
