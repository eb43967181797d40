"""OpenSearch as a search index: an alias for each log, over an index that small logs share or indices of its own."""
