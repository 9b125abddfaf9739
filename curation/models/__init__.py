"""Adapters to the models of other people, one file an adapter."""
