"""From a text to a vocabulary: counts of its pretokens, then byte-pair merges."""
