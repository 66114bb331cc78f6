"""What is remembered: job records and their transitions, the event log, data sets, artifacts."""
