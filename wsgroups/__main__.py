"""`python -m wsgroups app:handle`."""

from wsgroups.command.cli import main

if __name__ == "__main__":
    main(prog_name="python -m wsgroups")
