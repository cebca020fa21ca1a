"""STORE: what travels between capture and the read models.

Today the replication slot itself is the log, so all that stands here is the shape of what travels. A protocol comes
when Kafka arrives as the second implementation.
"""
