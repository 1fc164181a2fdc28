"""What a scene contains: city, roads, traffic, actors, scenery, and its conditions."""
