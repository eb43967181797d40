"""Tallystick on AWS: what holds data in one stack, what can be made anew at any time in another."""
