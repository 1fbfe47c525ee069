"""Local servers of a command: started once, shared, and ended with the last."""
