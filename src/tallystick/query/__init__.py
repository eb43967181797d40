"""The one query language: its tree, the filters that make one, the predicate over a body, the cursor of a listing."""
