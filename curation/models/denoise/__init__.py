"""Noise suppressors."""
