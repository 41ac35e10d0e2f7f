"""The exchanges' own protocols on loopback: recorded sessions and generated markets."""
