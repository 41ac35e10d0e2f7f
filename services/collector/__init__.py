"""Exchange frame -> RAW, bytes untouched."""
