"""The commands, a module each, or two of one kind. Each has ``add_to(subparsers)``; none imports another."""
