"""Commands that take long: rows with a state, run by the worker and gone on with after a crash."""
