"""From a recipe to model files; knows no gradient."""
