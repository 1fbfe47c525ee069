"""One builder at a time: the chain of leases, who holds it, who waits for it, what was decided."""
