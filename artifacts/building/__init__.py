"""What a builder makes: staged parts, a hand-over of them, local mirrors, the publication."""
