"""The texts that a command is given, and tables of their tokens."""
