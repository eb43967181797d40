"""The numbered SQL files, applied in order by `database.migrate`; those under ``timescaledb`` take their namesake's place there."""
