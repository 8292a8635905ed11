"""Steps of the queue's tables, oldest first. Only forwards: a queue is never taken back."""
