"""Training: the small parts of a model on frozen encoders, and the face network; what comes out is a model folder."""
