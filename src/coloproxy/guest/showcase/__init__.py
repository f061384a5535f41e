"""A guest that is killed while clients talk to it, and what they notice."""
