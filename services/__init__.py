"""The services, each its own process; they meet on subjects and tables only."""
