"""The command line: one page for each command, with its words, its checks, its run and what it tells."""
