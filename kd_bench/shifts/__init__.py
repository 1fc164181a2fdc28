"""How much a student loses on what it was not trained for: other rigs, cities, light and weather."""
