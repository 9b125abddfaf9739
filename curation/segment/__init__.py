"""Step 4: recordings become utterances of one speaker."""
