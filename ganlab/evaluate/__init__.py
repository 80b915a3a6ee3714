"""How good a generator is: features, distances, neighbours. No torch."""
