"""What a team would build instead, written as a good tutorial would; measured beside ours on the same settings."""
