"""The processes of a job: ranks that are started or joined, their meeting, requeueing, the jobs of a sweep."""
