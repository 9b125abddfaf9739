"""What the engine itself costs, and how all benches write their figures (`make bench`)."""
