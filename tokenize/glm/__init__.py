"""The GLM-4-Voice speech tokenizer."""

from gpa.tokenize.glm.tokenizer import GLMTokenizer

__all__ = ["GLMTokenizer"]
