"""The Gateway API as the meshes share it: reading and writing its routes, and the order in which they rank."""
