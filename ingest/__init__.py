"""From bytes to columns: packet format, decoding, validation, log, file formats, simulator."""
