"""PostgreSQL: pools, roles, sessions of one log, migrations and partitions."""
