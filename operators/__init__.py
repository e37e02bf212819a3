"""Affectstream's operators: what computes on packets and on segments, and the models they run."""
