"""What comes before a run: what it needs, fetches, takes and keeps."""
