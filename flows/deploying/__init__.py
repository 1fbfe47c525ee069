"""What a Prefect server is told of the flow, and how its runs find their place."""
