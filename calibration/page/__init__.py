"""One HTML page that needs nothing else: its style, its charts, its heat maps."""
