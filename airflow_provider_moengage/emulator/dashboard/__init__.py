"""The emulator's page and control API."""
