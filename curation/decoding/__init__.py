"""Any file's samples, block by block: who decodes it, how far it goes, what its channels are."""
