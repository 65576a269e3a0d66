"""The archive of a station: verdicts to search in, and pictures of the parts that somebody may ask about."""
