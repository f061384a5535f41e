"""The demonstration: one download, four ways, measured in one run."""
