"""The language model: shape and loss, training, evaluation, generation."""
