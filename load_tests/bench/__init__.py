"""`make bench`: one front process on a durable Postgres, against the floors measured in the same run."""
