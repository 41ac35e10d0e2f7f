"""Stores what is published on `md.>`, `gap.>` and `dead.>`: one ClickHouse table per kind, every record once."""
