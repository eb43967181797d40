"""The HTTP door: the application, its middleware, problem details, health, metrics and the OpenAPI document."""
