"""What 1.5-1 starts instead of sagemaker_containers' own server."""
