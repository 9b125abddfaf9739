"""Step 8: punctuation follows the measured pauses."""
