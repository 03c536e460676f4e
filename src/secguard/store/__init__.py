"""Where counts live."""
