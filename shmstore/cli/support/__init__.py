"""What the commands share: the parser, the store that STORE means, keys and values, output. Imports no command."""
