"""Where pretokens begin: 64 bytes are classified at once."""
