"""A session as one page: the time line, what was said, how it came across, what became of every packet."""
