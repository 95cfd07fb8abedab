"""`python -m sonosteer`."""

from sonosteer.commands.main import main

main()
