"""Recording and exact replay of sessions."""
