"""Steps of the register's tables, oldest first. Only forwards: a register is never taken back."""
