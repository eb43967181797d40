"""The truth: events, their identity, the writer that appends them and the reader that finds them again."""
