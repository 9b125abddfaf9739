"""Step 6: what each recogniser of the panel hears."""
