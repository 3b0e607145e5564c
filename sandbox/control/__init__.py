"""What a person or a program outside the API does to the account: a page and commands below `/_sandbox`."""
