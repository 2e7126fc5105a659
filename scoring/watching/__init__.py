"""What an operator may look at: capture, traces, a shadow. All of it opt-in."""
