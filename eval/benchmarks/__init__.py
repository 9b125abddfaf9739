"""A checkpoint on test sets, in tables beside the published figures."""
