"""Verify a Tallystick log without trusting the server that kept it."""

from tallystick_tlog.leaf import body_of, leaf_hash, verify_event

__all__ = ["body_of", "leaf_hash", "verify_event"]
