"""Personal data in texts: how each kind is detected, and its replacement."""
