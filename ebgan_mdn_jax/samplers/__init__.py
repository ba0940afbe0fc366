"""Ways to draw actions from an energy."""
