"""Retention, cleanup and their traces: what leaves the logs, when, why, and who is to forget it."""
