"""The command line, one file per noun. Nothing is imported before it is used: ``campaign --help`` is instant."""
