"""What was asked: the query string, hints, links. Pure: reads and writes nothing."""
