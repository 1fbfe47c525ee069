"""The flow that writes the report, and the sweeps that it runs."""
