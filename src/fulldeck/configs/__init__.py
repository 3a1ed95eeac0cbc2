"""The Hydra configuration, inside the package so that an installed copy has it."""
