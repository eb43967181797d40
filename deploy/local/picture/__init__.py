"""The production picture as processes on one machine; `cluster.py` is its door."""
