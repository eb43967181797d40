"""The numbered SQL files that `database.migrate` applies; one under ``timescaledb`` replaces its namesake."""
