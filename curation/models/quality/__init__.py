"""Scores of how speech sounds."""
