"""Protobuf definitions that an exchange speaks, and the modules generated from them."""
