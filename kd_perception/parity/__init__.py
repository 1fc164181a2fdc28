"""The live graph against the offline pipeline on any bag, stage by stage."""
