"""Curated shards in the formats that other trainers read (`gpa export`)."""
