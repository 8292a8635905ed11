"""Who the patients are: the one place that knows, kept apart from all that is measured.

Everything else knows a patient by an id that was drawn at random. Nothing of the engine, nor the queue, imports this.
"""
