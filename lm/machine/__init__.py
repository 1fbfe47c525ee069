"""What this machine has, and how a run uses it: device, threads, memory, processes."""
