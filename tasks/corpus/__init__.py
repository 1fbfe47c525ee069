"""What a run reads: its config and pins, one split's source, and the text as an artifact."""
