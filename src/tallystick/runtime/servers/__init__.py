"""The servers that stand in for a cloud on this machine: OpenSearch and ElasticMQ, fetched once and run as children."""
