"""What every other part of the package uses: the C module, imports, and arguments."""
