"""The command line: one thin file a command, and one builder behind them."""
