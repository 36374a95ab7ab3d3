"""The client of the OCI distribution API, and ECR by its own calls: no engine is needed."""
