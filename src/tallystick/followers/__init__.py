"""What follows the logs: durable cursors, leases, and the loop that hands over what is new, in order."""
