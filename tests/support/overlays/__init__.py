"""What the tests of the overlays share. These modules run on the base's own Python and packages, 3.7 and newer."""
