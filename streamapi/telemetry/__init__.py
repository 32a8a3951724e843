"""What an operator sees: logs and metrics.

logs.py         every log line is one JSON object
line_writer.py  lines on their way out, which never wait for a reader
metrics.py      Prometheus's counters, taken at the ending of a log
"""
