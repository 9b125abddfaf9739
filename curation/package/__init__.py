"""The last step: what is kept, as rows of shards, with what people and calibrations say of it."""
