"""The daemon: cameras, pipeline, verdicts. Never imports the trainer or torch."""
