"""The log on Redis Streams, for several processes and machines: partitioned by patient, many packets to an entry."""
