"""From text to ids: known pretokens by a table, new ones by their merges."""
