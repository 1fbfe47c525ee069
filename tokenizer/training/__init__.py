"""From a text to merges: counts of pretokens, then byte-pair merges."""
