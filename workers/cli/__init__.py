"""The fleet's part of the command line: what happened to deliveries, what was given up, and running it again."""
