"""Tallystick: a self-hosted, multi-tenant audit log API."""

__version__ = "0.1.0"
