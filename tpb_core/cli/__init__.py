"""The command line: a thin dispatcher (`main`) and one file a command, each with `main(argv: list[str]) -> int`."""
