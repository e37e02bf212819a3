"""Encoders: packets or segments to features; stateless."""
