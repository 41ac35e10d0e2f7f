"""What every service may import: pure exchange modules, and the runtime that owns sockets and clocks."""
