"""Time curves of enhancement: parameters, curves of lesions, voxel maps, agreement of synthetic with real."""
