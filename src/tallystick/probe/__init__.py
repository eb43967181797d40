"""The isolation probe: whether any tenant of a running deployment can reach what is another's."""
