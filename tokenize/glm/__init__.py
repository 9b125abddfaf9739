"""The GLM-4-Voice speech tokenizer."""
