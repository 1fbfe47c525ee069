"""The report in the order of the course: its problems, and the answers that need no run."""
