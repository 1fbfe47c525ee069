"""What trials and tokenizers gave, as plain data."""
