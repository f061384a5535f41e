"""`make demo`: two replicas of a real TCP stream, compared by the running proxy; then one byte changed."""
