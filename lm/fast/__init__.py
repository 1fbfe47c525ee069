"""What replaces the faithful modules where speed counts, each proven equal to them."""
