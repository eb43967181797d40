"""Load scenarios: realistic traffic against any URL, proven by reading it back, with a report page of plots."""
