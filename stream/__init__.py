"""Affectstream's streams: sources, the timeline, predictions and their publishing. Imports neither torch nor ray."""
