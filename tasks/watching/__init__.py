"""What a run tells while it works, and how it is told to stop."""
