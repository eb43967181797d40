"""What belongs together: the events of one request or session, and what became of one resource."""
