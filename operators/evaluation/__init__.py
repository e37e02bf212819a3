"""Evaluation: the field's metrics and the commands' figures."""
