"""Scripts that run inside an image, on its own Python. They import nothing of this project."""
