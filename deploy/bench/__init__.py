"""The measures: the pipeline, the same operators called bare, and a calibration kernel."""
