"""Publishing predictions over ZeroMQ, and subscribing to them."""
