"""Random and mutated frames through parsers and the normaliser's core: nothing but BadFrame, no memory without end."""
