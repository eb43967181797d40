"""How many events there are: by time, kind, actor and resource, out of rollups, or out of the search index."""
