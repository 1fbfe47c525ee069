"""From text to token ids and back: in memory, and from a file to a shard on disk."""
