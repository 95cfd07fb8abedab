"""`python -m sonosteer.cli`, as scripts written for earlier versions call it."""

from sonosteer.commands.main import main

if __name__ == "__main__":
    main()
