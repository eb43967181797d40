"""The object store: a folder or S3, by `obstore`, for what is too large for the database."""
