"""`mlpq up`: one command that keeps a local deployment running, in plain processes.

`lock` guards the data directory, `plan` decides what runs, `program` is one restarted process, `supervisor` keeps
all of them, `deployment` puts it together.
"""
