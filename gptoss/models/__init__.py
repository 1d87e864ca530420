"""The decoder: architectures, attention, rotary positions, precision."""
