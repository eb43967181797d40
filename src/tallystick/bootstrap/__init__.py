"""The one place that joins settings, adapters and capabilities: for an API process, and for the worker."""
