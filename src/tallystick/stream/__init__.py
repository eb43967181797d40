"""Streams: what is stored in a log, sent to whoever watches it, as it is stored."""
