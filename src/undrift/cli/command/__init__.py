"""What each command does: one module each, with `run(arguments, started)`; `started` is when the program did."""
