"""One command that rebuilds the bundled pair."""
