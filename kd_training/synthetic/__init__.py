"""A ray-cast driving world with the nuScenes rig, written in nuScenes format (see `generate.generate` and `kd synth
--help`).
"""
