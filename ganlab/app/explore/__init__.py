"""The parts of the page Explore: recipes, and a module for each view."""
