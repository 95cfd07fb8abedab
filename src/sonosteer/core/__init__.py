"""The language of the project: types, protocols, geometry, clock, errors, configuration, registry."""
