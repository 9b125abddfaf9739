"""How a checkpoint answers: ids in, tokens out; for evaluation, for people, and for reinforcement."""
