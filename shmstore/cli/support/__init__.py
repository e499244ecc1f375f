"""What the commands share: the parser, the store that KEY means, names and values, output. Imports no command."""
