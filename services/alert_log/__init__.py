"""Logs what Alertmanager says, and writes its configuration from the settings."""
