"""What counts as the same when hypotheses are compared. For scoring only."""
