"""Scripts that run inside an image, on its own Python, and print what they saw. They import nothing of this project."""
