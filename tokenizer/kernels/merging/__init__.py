"""The loop that trains merges, and the tables that it keeps."""
