"""The session engine: exists once, serves both runtimes, loads no torch."""
