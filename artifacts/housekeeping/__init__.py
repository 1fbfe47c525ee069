"""What a store keeps and what it may let go: pins, notes of use, sizes, sweeping."""
