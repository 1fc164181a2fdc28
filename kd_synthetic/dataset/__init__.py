"""The rendered world as a nuScenes data set: scenes, annotations, tables, card."""
