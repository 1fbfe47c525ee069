"""What was published: checked, read, and asked where it came from."""
