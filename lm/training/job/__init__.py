"""What a run is asked to do and what it leaves: job, result, log. Nothing here trains."""
