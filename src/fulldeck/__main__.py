"""``python -m fulldeck``: the command, for launchers such as torchrun that start modules."""

from fulldeck.cli import main

main(prog_name="fulldeck")
