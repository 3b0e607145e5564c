"""The installation doors: an account agrees, comes back with a code, and goes again."""
