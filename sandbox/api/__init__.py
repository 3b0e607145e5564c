"""The API of the service, version 4, below `/api/v4`."""
