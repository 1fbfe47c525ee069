"""Files of token ids (shards), and the batches and statistics that are read from them."""
