"""The demonstration: parts drawn by code, inspected by the real daemon, told in an HTML report."""
