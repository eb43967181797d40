"""The search indexes and queues that can be chosen, each with what it needs to speak to its engine."""
