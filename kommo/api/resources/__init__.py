"""The resources of an account: what can be read and written, now and later, and how it is asked for."""
