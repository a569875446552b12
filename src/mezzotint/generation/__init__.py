"""Generation: from a denoiser to pictures. The engine that draws numbered samples, and the pictures of them.

Sample i of a seed is one image, whatever else is drawn beside it. Nothing here imports lightning; Pillow and numpy are
imported where a picture is made.
"""

from mezzotint.generation.generator import Film, Generator, Sampling
from mezzotint.generation.pictures import film_strip, gif, grid, show

__all__ = ["Film", "Generator", "Sampling", "film_strip", "gif", "grid", "show"]
