"""`python -m sonosteer`."""

from sonosteer.cli import main

main()
