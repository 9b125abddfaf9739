"""The model at work: prompts in, text or speech out."""
