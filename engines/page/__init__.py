"""HTML pages that need nothing else: their style, charts, heat maps."""
