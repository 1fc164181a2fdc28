"""Meshes and textures: vehicles, people, street objects, buildings."""
