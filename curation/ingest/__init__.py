"""Step 1: which recordings there are, which are the same, and how they are shared out."""
