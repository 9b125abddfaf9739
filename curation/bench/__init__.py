"""How fast curation is, each figure beside what it is measured against (`make bench`)."""
