"""One pure module per exchange market: frame bytes to records."""
