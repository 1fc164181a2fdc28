"""Options of every node, each stated once: parameters, YAML files, launch arguments and flags are made from them."""
