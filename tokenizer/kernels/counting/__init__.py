"""Pretokens and how often each occurs."""
