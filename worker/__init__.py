"""When and where a job runs: the RQ worker, claim, lease and fence, resume, the reaper's clock."""
