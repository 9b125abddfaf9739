"""Model sizes, packing and the Trainer."""
