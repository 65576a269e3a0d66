"""Measurements of accuracy and speed, each a script that prints a table and writes JSON."""
