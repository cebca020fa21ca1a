"""Events and commands as a user writes them, and positions in the one global order. No I/O."""
