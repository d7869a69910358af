"""Checkpoints: safe reading, compatibility with a model, conversion."""
