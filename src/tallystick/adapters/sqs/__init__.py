"""The queue in Amazon SQS, or in another service that speaks it: `SqsQueue`."""
