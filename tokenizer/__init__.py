"""Byte-pair encoding: count pretokens, train merges, encode text to token ids, decode ids."""
