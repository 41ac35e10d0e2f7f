"""Knows exactly what is missing, and fetches just that: gaps and tables in, the exchanges' own history to raw.> out."""
