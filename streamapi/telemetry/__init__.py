"""What an operator sees: logs and metrics.

logs.py         log lines: one JSON object each, and the access log
line_writer.py  writes log lines without waiting for their reader
metrics.py      Prometheus's counters, taken at the ending of a log
"""
