"""Step 7: N hypotheses become one text, or a reason for none."""
