"""Pipelines that keep a user's images current, as text: GitHub, GitLab, CodeBuild, and a template to start with."""
