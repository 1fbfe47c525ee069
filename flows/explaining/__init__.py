"""What the settings mean and are sized by, and whether the machine is ready."""
