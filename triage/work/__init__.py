"""Work on the queue's lines: who has taken one, what was done about it, what must happen next."""
