"""`tallystick bench`: a load generator, what it is compared with, and reports of speed and memory."""
