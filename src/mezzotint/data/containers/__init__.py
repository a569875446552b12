"""Files that hold many images: how they are listed, and how one image is read without unpacking the others."""
