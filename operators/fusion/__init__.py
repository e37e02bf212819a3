"""Fusion: what the modalities say, made into one; one file a method."""
