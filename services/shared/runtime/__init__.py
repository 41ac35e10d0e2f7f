"""The only sockets, clients, clocks and signals of the services."""
