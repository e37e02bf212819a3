"""Faces: found, followed over time and cut out of video frames."""
