"""A curation run against ground truth."""
