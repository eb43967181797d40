"""`tallystick up` and its processes: state directory, embedded PostgreSQL, supervision."""
