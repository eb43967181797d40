"""Tantivy as a search index: a folder for each log, written by the worker and read by every process of the machine."""
