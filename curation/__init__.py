"""Raw recordings to curated utterances: one file a stage, in the order of the recipe."""
