"""The doors' part of the command line: `kommo webhooks` and `kommo accounts`."""
