"""Token shards, and the batches and statistics drawn from them."""
