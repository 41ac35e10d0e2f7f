"""Raw frames to records, gaps and dead letters: `raw.>` to `md.>`, `gap.>` and `dead.normaliser`."""
