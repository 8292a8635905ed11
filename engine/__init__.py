"""Shards, state, pipeline, checkpoint, history and replay: the line that a packet follows."""
