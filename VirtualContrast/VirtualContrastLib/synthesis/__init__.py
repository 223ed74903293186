"""From a pre-contrast volume to synthetic phases: intensities, device, slice-wise network, uncertainty."""
