"""The calibration's page."""
